"""The `System` interface: inputs looked up by sample index, callables, completions in parts."""

import threading

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import SettingsError
from gnomon.core.task import DataSource, Task
from gnomon.loadgen.measure import measure
from gnomon.loadgen.protocol import adapt_system
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.loadgen.system import (
    AsynchronousSystem,
    CallableSystem,
    InputTable,
    Query,
    SynchronousSystem,
)


class Squares(Task):
    """Inputs are ten times the index; as an array or as a list of byte strings."""

    name = "squares"
    metric = "share right"

    def __init__(self, give=lambda samples: 10.0 * samples):
        self.give = give

    def __len__(self):
        return 50

    def source(self):
        return DataSource("integers below 50", official=False, sha256="-")

    def inputs(self, samples):
        return self.give(samples)

    def score(self, samples, outputs):
        return float(np.mean(np.asarray(outputs)[:, 0] == samples**2))


def test_an_input_table_gives_the_inputs_of_the_samples_asked_for_in_their_order():
    table = InputTable(Squares(), np.arange(50))
    assert table[np.array([7, 3, 7])].tolist() == [70.0, 30.0, 70.0]


def test_an_input_table_holds_only_the_loaded_samples_and_finds_them_by_index():
    asked = []

    def give(samples):
        asked.append(samples.tolist())
        return 10.0 * samples

    table = InputTable(Squares(give), np.array([40, 5, 40, 12]))
    assert asked == [[5, 12, 40]]
    assert table[np.array([12, 40, 5])].tolist() == [120.0, 400.0, 50.0]


def test_an_input_table_of_a_list_gives_lists():
    table = InputTable(
        Squares(lambda samples: [b"%d" % index for index in samples]), np.array([9, 2])
    )
    assert table[np.array([2, 9])] == [b"2", b"9"]


def test_an_input_table_refuses_a_task_that_gives_too_few_inputs():
    with pytest.raises(SettingsError, match="task 'squares' gave 3 inputs for 4 samples"):
        InputTable(Squares(lambda samples: samples[1:]), np.arange(4))


def test_a_callable_is_a_system_named_after_its_function():
    def nearest_centroid(images):
        return images

    system = adapt_system(nearest_centroid)
    assert isinstance(system, CallableSystem)
    assert system.name == "nearest_centroid"
    assert system.describe()["callable"].endswith("nearest_centroid")
    system.load(Squares(), np.arange(50))
    assert system.predict(np.array([4, 2])).tolist() == [40.0, 20.0]


def test_a_callable_object_is_named_after_its_class():
    class Pipeline:
        def __call__(self, images):
            return images

    assert adapt_system(Pipeline()).name == "Pipeline"


def test_a_system_stays_what_it_is():
    system = CallableSystem(len, name="mine", max_batch_size=3)
    assert adapt_system(system) is system
    assert (system.name, system.max_batch_size) == ("mine", 3)


def test_what_is_no_system_is_refused_with_what_it_is():
    with pytest.raises(SettingsError, match="a System or a callable, got list"):
        adapt_system([1, 2])


def test_a_callable_measures_digits_in_three_lines(tmp_path):
    def brightness(images):
        return np.repeat(images.mean(axis=(1, 2, 3))[:, None], 10, axis=1)

    run = gnomon.run("digits", system=brightness, performance=False, out=tmp_path)
    assert run.record["system"]["name"] == "brightness"
    assert run.result["accuracy"]["sample_count"] == 797


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda scores: scores.astype(np.float64), id="double precision"),
        pytest.param(lambda scores: scores.astype(np.float16), id="half precision"),
        pytest.param(lambda scores: scores.tolist(), id="lists"),
        pytest.param(list, id="a list of arrays"),
        pytest.param(np.asfortranarray, id="column-major"),
    ],
)
def test_answers_of_any_float_type_score_alike(tmp_path, convert):
    def classify(images):
        scores = np.zeros((len(images), 10), dtype=np.float32)
        scores[:, 3] = images.sum(axis=(1, 2, 3))
        scores[:, 7] = 20
        return convert(scores)

    run = gnomon.run("digits", system=classify, performance=False, out=tmp_path)
    expected = gnomon.run(
        "digits",
        system=lambda images: np.asarray(classify(images), dtype=np.float32),
        performance=False,
        out=tmp_path,
    )
    assert run.result == expected.result


def test_a_query_is_completed_whole_or_by_its_ids():
    calls = []
    query = Query(np.array([5, 6, 7]), np.array([50, 60, 70]), lambda *found: calls.append(found))
    query.complete(["a", "b", "c"])
    query.complete(["c"], ids=[7])
    assert [(ids.tolist(), outputs) for ids, outputs in calls] == [
        ([5, 6, 7], ["a", "b", "c"]),
        ([7], ["c"]),
    ]


class PieceByPiece(AsynchronousSystem):
    """Completes each sample alone, last one first, from a thread of its own."""

    name = "piece-by-piece"
    max_batch_size = 8

    def load(self, task, samples):
        pass

    def issue(self, query):
        def answer():
            for place in reversed(range(len(query.ids))):
                query.complete(query.samples[place : place + 1] ** 2, [query.ids[place]])

        threading.Thread(target=answer).start()


def test_a_query_completed_sample_by_sample_from_another_thread_gives_every_sample_its_answer(
    tmp_path,
):
    found = {}
    settings = Settings(
        scenario=Scenario.OFFLINE,
        mode=Mode.ACCURACY,
        total_sample_count=50,
        performance_sample_count=20,
    )

    def keep(ids, samples, outputs):
        found.update(
            zip(ids.tolist(), zip(samples.tolist(), outputs.tolist(), strict=True), strict=True)
        )

    measured = measure(PieceByPiece(), Squares(), settings, tmp_path, sink=keep)
    assert measured.faults == ()
    assert sorted(found) == list(range(50))
    assert sorted(sample for sample, _ in found.values()) == list(range(50))
    assert all(output == sample**2 for sample, output in found.values())
    assert [found[row][0] for row in range(50)] == measured.samples.sample_index.tolist()


def test_an_asynchronous_system_never_holds_more_than_it_asked_for_in_offline(tmp_path):
    class Counting(AsynchronousSystem):
        name = "counting"
        max_batch_size = 4
        max_outstanding = 12

        def __init__(self):
            self.held = self.most_held = 0
            self.lock = threading.Lock()

        def load(self, task, samples):
            pass

        def issue(self, query):
            with self.lock:
                self.held += len(query.ids)
                self.most_held = max(self.most_held, self.held)
            threading.Timer(0.001, self.answer, [query]).start()

        def answer(self, query):
            with self.lock:
                self.held -= len(query.ids)
            query.complete(query.samples)

    system = Counting()
    settings = Settings(
        scenario=Scenario.OFFLINE,
        total_sample_count=50,
        performance_sample_count=50,
        min_query_count=200,
        min_duration_ns=0,
    )
    measured = measure(system, Squares(), settings, tmp_path)
    assert measured.samples.answered.all()
    assert 4 < system.most_held <= 12


def test_a_synchronous_system_gets_batches_no_larger_than_it_takes(tmp_path):
    class Sizes(SynchronousSystem):
        name = "sizes"
        max_batch_size = 16

        def __init__(self):
            self.sizes = set()

        def load(self, task, samples):
            pass

        def predict(self, samples):
            self.sizes.add(len(samples))
            return samples

    system = Sizes()
    settings = Settings(
        scenario=Scenario.OFFLINE,
        total_sample_count=50,
        performance_sample_count=50,
        target_qps=1000,
        min_query_count=100,
        min_duration_ns=0,
    )
    measured = measure(system, Squares(), settings, tmp_path)
    assert len(measured.samples) == 100
    assert system.sizes == {16, 4}
