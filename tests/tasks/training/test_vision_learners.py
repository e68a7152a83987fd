"""What every reference implementation of the vision tasks must do, on the data that ships or is made up."""

import copy
import pickle

import numpy as np
import pytest

from gnomon.core.errors import SettingsError
from gnomon.tasks.training.cifar10 import FILES, PIXELS, TrainingCifar10
from gnomon.tasks.training.digits import TrainingDigits
from gnomon.tasks.training.scenes import TrainingScenes
from gnomon.timetotrain.task import Recipe

torch = pytest.importorskip("torch")

SGD = {"opt_name": "sgd", "opt_base_learning_rate": 0.05, "opt_sgd_momentum": 0.9}
ADAM = {"opt_name": "adam", "opt_base_learning_rate": 0.003}
NAMES = ("digits", "scenes", "cifar10")
SEPARABLE = ("digits", "scenes")
"""Tasks whose model has no batch normalisation."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar-10-batches-bin")
    generator = np.random.default_rng(0)
    for name in FILES:
        records = generator.integers(0, 256, (12, 1 + PIXELS), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return {
        "digits": TrainingDigits(),
        "scenes": TrainingScenes(),
        "cifar10": TrainingCifar10(folder, images_a_file=12),
    }


def learner_of(task, seed=7, batch=8, rank=0, world_size=1, **changed):
    chosen = ADAM if task.name == "training-scenes" else SGD
    hyperparameters = {"global_batch_size": batch, **chosen, **changed}
    return task.learner(
        Recipe(seed, hyperparameters, rank=rank, world_size=world_size),
    )


def gradients(learner, batch):
    learner.model.zero_grad(set_to_none=True)
    learner.loss(learner.model, batch).backward()
    return [weight.grad.clone() for weight in learner.model.parameters()]


def steps(learner, count, epoch=1):
    """Losses of the first steps."""
    losses = []
    for _, batch in zip(range(count), learner.batches(epoch), strict=False):
        learner.optimizer.zero_grad()
        loss = learner.loss(learner.model, batch)
        loss.backward()
        learner.optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", SEPARABLE)
def test_two_processes_average_to_the_gradient_of_one(tasks, name):
    whole = learner_of(tasks[name])
    halves = [learner_of(tasks[name], rank=rank, world_size=2) for rank in (0, 1)]
    one = gradients(whole, next(whole.batches(1)))
    two = [gradients(half, next(half.batches(1))) for half in halves]
    for expected, first, second in zip(one, *two, strict=True):
        torch.testing.assert_close((first + second) / 2, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_processes_share_every_batch_and_no_sample_twice(tasks, name):
    whole = next(learner_of(tasks[name]).batches(3))
    halves = [next(learner_of(tasks[name], rank=rank, world_size=2).batches(3)) for rank in (0, 1)]
    for place, expected in enumerate(whole):
        woven = torch.stack([half[place] for half in halves], dim=1).flatten(0, 1)
        torch.testing.assert_close(woven, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_a_function_of_its_seed(tasks, name):
    first, again, other = (
        steps(learner_of(tasks[name], seed=seed), 3) for seed in (2**62, 2**62, 2)
    )
    assert first == again
    assert first[0] != other[0]


@pytest.mark.parametrize("name", NAMES)
def test_order_differs_by_epoch_and_not_by_what_was_trained_before(tasks, name):
    learner = learner_of(tasks[name])
    before = next(learner.batches(2))
    steps(learner, 2)
    torch.testing.assert_close(next(learner.batches(2)), before, rtol=0, atol=0)
    assert not torch.equal(next(learner.batches(1))[0], before[0])


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_leaves_out_only_an_incomplete_batch(tasks, name):
    learner = learner_of(tasks[name], batch=11)
    sizes = [len(batch[0]) for batch in learner.batches(1)]
    assert sizes == [11] * (tasks[name].training_size // 11)


@pytest.mark.parametrize("name", NAMES)
def test_the_made_up_batch_is_shaped_as_a_real_one_and_reads_no_data(tasks, name):
    learner = learner_of(tasks[name])
    made_up = learner.made_up_batch()
    assert not {"_trained_on", "_held_out"} & set(vars(learner))
    for made, real in zip(made_up, next(learner.batches(1)), strict=True):
        assert (made.shape, made.dtype) == (real.shape, real.dtype)
    assert torch.isfinite(learner.loss(learner.model, made_up))


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_one_compact_array_in_the_order_asked_for(tasks, name):
    task = tasks[name]
    learner = learner_of(task)
    learner.load_data()
    learner.model.eval()
    with torch.inference_mode():
        answers = learner.answers(task.held_out)
        some = learner.answers(task.held_out[[7, 2]])
    np.testing.assert_allclose(some, answers[[7, 2]], rtol=1e-4, atol=1e-4)
    coded = [task.decode(task.encode(answer)) for answer in answers]
    assert task.score(task.held_out, coded) == task.score(task.held_out, answers)
    assert 0 <= task.score(task.held_out, answers) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_what_the_model_is_evaluated_on(tasks, name):
    task = tasks[name]
    learner = learner_of(task)
    learner.model.eval()
    asked = task.held_out[:5]
    with torch.inference_mode():
        said = learner.model(torch.from_numpy(task.inputs(asked)))
        answers = learner.answers(asked)
    if name == "scenes":
        score = said[:, :11].softmax(1)[:, :10].flatten(1).max(1).values
        np.testing.assert_allclose(answers[:, 0, 1], score, rtol=1e-4)
    else:
        np.testing.assert_array_equal(answers, said.argmax(1))


def test_augmentation_gives_pixels_of_the_shifted_or_mirrored_image():
    from gnomon.tasks.training.cifar10_augmentation import MARGIN, shifted_and_mirrored

    images = torch.randint(1, 256, (40, 3, 32, 32), dtype=torch.uint8)
    draws = torch.rand(40, 3)
    seen = shifted_and_mirrored(images, draws)
    for image, draw, found in zip(images, draws, seen, strict=True):
        down, right = (int(9 * part) for part in draw[:2])
        padded = torch.zeros(3, 40, 40, dtype=torch.uint8)
        padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = image
        cut = padded[:, down : down + 32, right : right + 32]
        assert torch.equal(found, cut if draw[2] < 0.5 else cut.flip(2))


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_few_steps_lower_the_loss(tasks, name):
    losses = steps(learner_of(tasks[name], batch=32), 40)
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("changed", "world_size", "complaint"),
    [
        ({"global_batch_size": 9}, 2, "shared equally by 2 processes"),
        ({"global_batch_size": 5000}, 1, "at most 1437"),
        ({"global_batch_size": 0}, 1, "at least 1"),
        ({"global_batch_size": "many"}, 1, "must be a number"),
    ],
)
def test_a_batch_that_cannot_be_made_is_refused(tasks, changed, world_size, complaint):
    with pytest.raises(SettingsError, match=complaint):
        next(learner_of(tasks["digits"], world_size=world_size, **changed).batches(1))


def test_a_task_travels_to_another_process(tasks):
    for task in tasks.values():
        again = pickle.loads(pickle.dumps(copy.copy(task)))
        assert again.source() == task.source()
