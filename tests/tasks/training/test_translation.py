"""Translation: subwords, the shipped corpus, BLEU, and how the small Transformer learns."""

import gzip
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.tasks.training import parallel_corpus
from gnomon.tasks.training.parallel_corpus import HELD_OUT, EmojiNames
from gnomon.tasks.training.translation import token_array
from gnomon.tasks.training.translation_batches import batches_of_like_length
from gnomon.tasks.training.translation_subwords import END, Subwords, joined, runs
from gnomon.timetotrain.task import Recipe

RECIPE = {
    "global_batch_size": 32,
    "opt_name": "adam",
    "opt_base_learning_rate": 0.003,
    "opt_learning_rate_warmup_steps": 50,
}
LETTERS = ("<pad>_", "<EOS>_", *"abcdefghij \\;u_0123456789")


@pytest.fixture(scope="module")
def task():
    return EmojiNames()


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_runs_of_words_and_of_others_join_into_the_same_text(text):
    assert joined(runs(text)) == text


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_any_text_survives_subwords_that_lack_its_characters(text):
    subwords = Subwords(LETTERS)
    assert subwords.decode([*subwords.encode(text), END]) == text


def test_the_longest_subword_at_each_place_is_taken():
    subwords = Subwords([*LETTERS, "abc", "ab", "cab_", "c_"])
    assert [subwords.subwords[one] for one in subwords.encode("abcab abc")] == [
        "abc",
        "ab",
        "_",
        "abc",
        "_",
    ]


@pytest.mark.parametrize("tokens", [[5, 6, END, 7], [0, 5, 0, 6], [10**6, 5, -3, 6]])
def test_whatever_a_model_says_spells_some_text(tokens):
    assert Subwords(LETTERS).decode(tokens) == "de"


def test_a_quoted_vocabulary_file_is_read_and_a_broken_one_refused(tmp_path):
    path = tmp_path / "vocab.ende.32768"
    path.write_text("'<pad>'\n'<EOS>'\n'the_'\n\"it's_\"\n", encoding="utf-8")
    assert Subwords.read(path).subwords == ("<pad>", "<EOS>", "the_", "it's_")
    path.write_text("the_\na_\n", encoding="utf-8")
    with pytest.raises(DataError, match="begins with 'the_', 'a_'"):
        Subwords.read(path)
    path.write_text("'<pad>'\n'<EOS>'\n'a'b'\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3"):
        Subwords.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        Subwords.read(path)
    with pytest.raises(DataError, match="no subword vocabulary"):
        Subwords.read(tmp_path / "missing")


def test_a_vocabulary_without_spelling_says_what_it_lacks():
    with pytest.raises(DataError, match="has no subword"):
        Subwords(["<pad>_", "<EOS>_", "a"]).encode("b")


def test_the_corpus_holds_out_pairs_that_share_nothing_with_those_trained_on(task):
    pairs = task._pairs
    assert len(pairs) == len(task) + task.training_size == 3781
    for side in (0, 1):
        held_out = {pair[side].casefold() for pair in pairs[:HELD_OUT]}
        trained_on = {pair[side].casefold() for pair in pairs[HELD_OUT:]}
        assert len(held_out) == HELD_OUT
        assert not held_out & trained_on


def test_the_corpus_is_the_one_that_the_targets_were_measured_on(task):
    assert task.source().sha256.startswith("39b758d44ad698ed")
    assert not task.source().official


def test_every_sentence_of_the_corpus_survives_its_subwords_and_fits_an_answer(task):
    for pair in task._pairs:
        for text in pair:
            assert task.subwords.decode(task.subwords.encode(text)) == text
    assert max(one.shape[1] for one in task.training_tokens) <= task.longest_answer


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b'{"pairs": [', mtime=0)])
def test_a_damaged_corpus_is_an_error_that_says_so(tmp_path, monkeypatch, content):
    path = tmp_path / "corpus.json.gz"
    path.write_bytes(content)
    monkeypatch.setattr(parallel_corpus, "CORPUS", path)
    with pytest.raises(DataError, match="cannot be read or was cut short"):
        len(EmojiNames())
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        len(EmojiNames())


def test_bleu_is_100_for_the_references_and_what_sacrebleu_says_of_anything_else(task):
    sacrebleu = pytest.importorskip("sacrebleu")
    samples = np.array([4, 0, 9, 77, 301])
    references = [task.held_out_pairs[1][one] for one in samples]
    answers = token_array([task.subwords.encode(text) for text in references])
    assert task.score(samples, answers) == pytest.approx(100)
    wrong = answers[[1, 0, 2, 3, 4]]
    texts = [references[one] for one in (1, 0, 2, 3, 4)]
    expected = sacrebleu.corpus_bleu(texts, [references]).score
    assert 0 < expected < 100
    assert task.score(samples, wrong) == pytest.approx(expected)
    # Through the accuracy log, where answers come back one by one.
    again = [task.decode(task.encode(row)) for row in wrong]
    assert task.score(samples, again) == pytest.approx(expected)


@pytest.mark.parametrize("outputs", [np.zeros((3, 4)), np.zeros((2, 4), int), np.zeros(3, int)])
def test_answers_of_another_shape_or_type_are_refused(task, outputs):
    with pytest.raises(DataError, match="one row of token ids a sample"):
        task.score(np.arange(3), outputs)


@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([None, 1, 3]),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_processes_share_batches_of_like_length_without_overlap(batch, world, epoch, pool, seed):
    batch *= world
    lengths = np.random.default_rng(seed).integers(1, 30, 200)
    hyperparameters = {"global_batch_size": batch}
    whole = batches_of_like_length(Recipe(seed, hyperparameters), lengths, epoch, pool=pool)
    assert len(np.unique(whole)) == whole.size == 200 // batch * batch
    shares = [
        batches_of_like_length(
            Recipe(seed, hyperparameters, rank=rank, world_size=world), lengths, epoch, pool=pool
        )
        for rank in range(world)
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares, 1)), np.sort(whole))
    if pool is None:
        spans = sorted((lengths[row].min(), lengths[row].max()) for row in whole)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(SettingsError, match="cannot be shared equally by 3"):
        batches_of_like_length(
            Recipe(1, {"global_batch_size": 4}, world_size=3), np.ones(9, np.int64), 1
        )


torch = pytest.importorskip("torch")


def gradients(learner, batch):
    learner.model.zero_grad()
    learner.loss(learner.model, batch).backward()
    return {name: weight.grad.clone() for name, weight in learner.model.named_parameters()}


def test_the_gradients_of_two_processes_average_to_those_of_one(task):
    alone = task.learner(Recipe(3, RECIPE))
    both = [task.learner(Recipe(3, RECIPE, rank=rank, world_size=2)) for rank in (0, 1)]
    found = [gradients(one, next(one.batches(2))) for one in both]
    for name, whole in gradients(alone, next(alone.batches(2))).items():
        torch.testing.assert_close(
            (found[0][name] + found[1][name]) / 2, whole, atol=2e-6, rtol=1e-4
        )


def test_weights_and_order_depend_on_the_seed_alone(task):
    one, same, other = (task.learner(Recipe(seed, RECIPE)) for seed in (5, 5, 6))
    for first, second in zip(one.model.parameters(), same.model.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert not torch.equal(one.model.embedding.weight, other.model.embedding.weight)
    batch, again, different = (next(learner.batches(1))[0] for learner in (one, same, other))
    assert torch.equal(batch, again)
    assert batch.shape != different.shape or not torch.equal(batch, different)


def test_an_epoch_trains_on_every_pair_once_but_the_last_few(task):
    learner = task.learner(Recipe(1, RECIPE))
    seen = [tuple(row[row > 0].tolist()) for source, _ in learner.batches(1) for row in source]
    assert len(set(seen)) == len(seen) == task.training_size // 32 * 32
    assert all(source.shape[1] >= 1 for source, _ in learner.batches(1))


def test_padding_changes_neither_loss_nor_translation(task):
    learner = task.learner(Recipe(2, RECIPE))
    learner.model.eval()
    source, target = next(learner.batches(1))
    padded = torch.nn.functional.pad(source, (0, 7)), torch.nn.functional.pad(target, (0, 5))
    with torch.inference_mode():
        torch.testing.assert_close(
            learner.loss(learner.model, padded), learner.loss(learner.model, (source, target))
        )
        assert torch.equal(learner.model.greedy(padded[0], 20), learner.model.greedy(source, 20))


def test_the_model_computes_what_pytorchs_own_layers_compute(task):
    """Oracle: `nn.TransformerEncoderLayer` with the same weights."""
    learner = task.learner(Recipe(4, RECIPE))
    layer = learner.model.encoder[0]
    reference = torch.nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True, norm_first=True)
    reference.load_state_dict(
        {
            "self_attn.in_proj_weight": layer.attention.projected.weight,
            "self_attn.in_proj_bias": layer.attention.projected.bias,
            "self_attn.out_proj.weight": layer.attention.out.weight,
            "self_attn.out_proj.bias": layer.attention.out.bias,
            "linear1.weight": layer.dense[0].weight,
            "linear1.bias": layer.dense[0].bias,
            "linear2.weight": layer.dense[-1].weight,
            "linear2.bias": layer.dense[-1].bias,
            "norm1.weight": layer.before_attention.weight,
            "norm1.bias": layer.before_attention.bias,
            "norm2.weight": layer.before_dense.weight,
            "norm2.bias": layer.before_dense.bias,
        }
    )
    from gnomon.tasks.training.transformer_attention import Places

    kept = torch.arange(9) < torch.tensor([[9], [4], [6]])
    places = Places.of(kept, torch.float32)
    x = torch.randn(3, 9, 64, generator=torch.Generator().manual_seed(1))
    found = layer(x[kept], places)
    torch.testing.assert_close(
        found, reference(x, src_key_padding_mask=~kept)[kept], atol=1e-5, rtol=1e-4
    )


def test_greedy_translation_takes_the_likeliest_token_given_all_before(task):
    learner = task.learner(Recipe(7, RECIPE))
    learner.load_data()
    model = learner.model.eval()
    with torch.inference_mode():
        source = learner._held_out[:12]
        said = model.greedy(source, 10)
        given = torch.nn.functional.pad(said[:, :-1], (1, 0))
        kept = torch.ones_like(said, dtype=torch.bool)
        scores = model(source, given, kept).view(12, 10, -1)
        # The score of what was said, against the best there was; ties may go either way.
        chosen = scores.gather(2, said[:, :, None])[:, :, 0]
        open_ = torch.cumsum(said == END, 1) - (said == END).int() == 0
        torch.testing.assert_close(chosen[open_], scores.max(2).values[open_], atol=1e-4, rtol=0)


def test_a_few_steps_lower_the_loss_and_answers_are_compact_rows(task):
    learner = task.learner(Recipe(1, RECIPE))
    learner.load_data()
    losses = []
    for batch in learner.batches(1):
        learner.optimizer.zero_grad()
        loss = learner.loss(learner.model, batch)
        loss.backward()
        learner.optimizer.step()
        learner.schedule.step()
        losses.append(loss.item())
        if len(losses) == 40:
            break
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    learner.model.eval()
    with torch.inference_mode():
        answers = learner.answers(np.arange(20))
    assert answers.shape == (20, 32)
    assert answers.dtype == np.uint16
    assert 0 <= task.score(np.arange(20), answers) <= 100


def test_a_made_up_batch_has_the_shapes_of_a_real_one_and_no_data(task):
    learner = task.learner(Recipe(1, RECIPE, rank=1, world_size=2))
    source, target = learner.made_up_batch()
    assert len(source) == len(target) == 16
    assert learner.loss(learner.model, (source, target)).isfinite()
    assert "_trained_on" not in vars(learner)


def test_without_sacrebleu_a_learner_and_a_score_name_the_extra(task, monkeypatch):
    for name in ("sacrebleu", "sacrebleu.metrics", "sacrebleu.metrics.bleu"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"sacrebleu: pip install 'gnomon\[train\]'"):
        task.learner(Recipe(1, RECIPE))
    with pytest.raises(MissingExtraError, match="sacrebleu"):
        task.score(np.arange(2), np.zeros((2, 3), int))


def test_inputs_are_the_sources_in_the_order_asked_for(task):
    rows = task.inputs(np.array([7, 2]))
    assert [task.subwords.decode(row) for row in rows.tolist()] == [
        task.held_out_pairs[0][7],
        task.held_out_pairs[0][2],
    ]


def test_a_loop_of_ones_own_gets_sources_and_translations_of_training_pairs(task):
    chosen = task.trained_on[[0, -1]]
    sources, targets = task.inputs(chosen), task.targets(chosen)
    for row, target, sample in zip(sources.tolist(), targets.tolist(), chosen, strict=True):
        assert [task.subwords.decode(row), task.subwords.decode(target)] == task._pairs[sample]
