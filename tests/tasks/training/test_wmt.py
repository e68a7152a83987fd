"""WMT's format in tiny files, and the field's two models made small enough to try."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.tasks.training.translation import token_counts
from gnomon.tasks.training.translation_subwords import END, Subwords
from gnomon.tasks.training.wmt import VOCABULARY, WmtGnmt, WmtTransformer
from gnomon.tasks.training.wmt_tokens import encoded
from gnomon.timetotrain.task import Recipe

WORDS = ("ein", "zwei", "drei", "haus", "baum")
ALPHABET = sorted({*"abcdefghijklmnopqrstuvwxyz", *"0123456789\\;u_ ."})
RECIPE = {"global_batch_size": 8, "opt_name": "adam", "opt_base_learning_rate": 0.001}


def write(folder, name, sentences):
    (folder / name).write_text("".join(f"{one}\n" for one in sentences), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    english = [f"{WORDS[n % 5]} {WORDS[n * 3 % 5]} {n}." for n in range(40)]
    german = [f"{WORDS[n % 5]} nicht {WORDS[n * 3 % 5]} {n}." for n in range(40)]
    english[7], german[11] = "", "lang " * 300
    write(tmp_path, "train.en", english)
    write(tmp_path, "train.de", german)
    write(tmp_path, "newstest2014.en", ["zwei haus.", "drei \N{SNOWMAN} baum baum."])
    write(tmp_path, "newstest2014.de", ["zwei nicht haus.", "drei nicht baum baum."])
    words = ["<pad>_", "<EOS>_", *(f"{word}_" for word in WORDS), *ALPHABET]
    write(tmp_path, VOCABULARY, [f"'{word}'" if word != "\\" else "'\\\\'" for word in words])
    return tmp_path


def test_pairs_that_are_empty_or_too_long_are_not_trained_on(folder):
    task = WmtTransformer(folder)
    assert len(task) == 2
    assert task.training_size == 38
    assert not {7, 11} & set(task.trained_pairs.tolist())
    english, german = task.training_sentences
    for number in (0, 20, 39):
        for side, sentences in (("en", english), ("de", german)):
            text = (folder / f"train.{side}").read_text().splitlines()[number]
            assert task.subwords.decode(sentences.padded(np.array([number]))[0]) == text


def test_sentences_are_cut_once_and_mapped_from_then_on(folder):
    subwords = WmtTransformer(folder).subwords
    first = encoded(folder / "train.en", subwords)
    WmtTransformer(folder).prepare()
    kept = list(folder.glob(".train.en.*.tokens.npy"))
    assert len(kept) == 1
    written = kept[0].stat().st_mtime_ns
    again = encoded(folder / "train.en", subwords)
    assert kept[0].stat().st_mtime_ns == written
    assert isinstance(again.tokens, np.memmap)
    np.testing.assert_array_equal(first.starts, again.starts)
    write(folder, "train.en", ["zwei baum."])
    assert len(encoded(folder / "train.en", subwords)) == 1


def test_a_folder_that_cannot_be_written_is_read_all_the_same(folder, monkeypatch):
    def refuse(path, data):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gnomon.tasks.training.wmt_tokens.write_atomically", refuse)
    sentences = encoded(folder / "train.en", WmtTransformer(folder).subwords)
    assert len(sentences) == 40
    assert not list(folder.glob(".train.en.*"))


@given(st.lists(st.lists(st.integers(2, 9), max_size=6), min_size=1, max_size=8), st.randoms())
@settings(deadline=None, max_examples=50)
def test_padded_rows_are_the_sentences_asked_for(sentences, random):
    from gnomon.tasks.training.wmt_tokens import Sentences

    tokens = [token for one in sentences for token in [*one, END]]
    starts = np.cumsum([0] + [len(one) + 1 for one in sentences])
    which = np.array([random.randrange(len(sentences)) for _ in range(5)])
    rows = Sentences(np.array(tokens, np.uint16), starts).padded(which)
    assert rows.shape == (5, max(len(sentences[one]) + 1 for one in which))
    for row, one in zip(rows.tolist(), which, strict=True):
        assert row[: len(sentences[one]) + 1] == [*sentences[one], END]
        assert not any(row[len(sentences[one]) + 1 :])


def test_bleu_does_not_tell_upper_from_lower_case(folder):
    pytest.importorskip("sacrebleu")
    task = WmtTransformer(folder)
    task.held_out_pairs[1][0] = "Zwei nicht Haus."
    answers = np.zeros((2, 40), np.uint16)
    for row, text in zip(answers, ["zwei nicht haus.", "drei nicht baum baum."], strict=True):
        tokens = task.subwords.encode(text)
        row[: len(tokens)] = tokens
    assert task.score(np.arange(2), answers) == pytest.approx(100)


def test_a_source_is_never_official_and_says_when_the_test_set_is_another(folder):
    source = WmtTransformer(folder).source()
    assert not source.official
    assert "2 sentences that are not newstest2014" in source.name
    before = source.sha256
    write(folder, "newstest2014.de", ["zwei.", "drei."])
    assert WmtTransformer(folder).source().sha256 != before


def test_missing_and_mismatched_files_are_named(folder):
    with pytest.raises(DataError, match="--data FOLDER"):
        len(WmtTransformer())
    with pytest.raises(DataError, match="there is no folder"):
        len(WmtTransformer(folder / "elsewhere"))
    write(folder, "newstest2014.de", ["zwei."])
    with pytest.raises(DataError, match=r"newstest2014.en has 2 lines and newstest2014.de 1"):
        len(WmtTransformer(folder))
    (folder / "train.de").unlink()
    with pytest.raises(DataError, match=r"there is no file .*train\.de"):
        _ = WmtTransformer(folder).training_size
    (folder / "train.en").write_bytes(b"zwei\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        _ = WmtTransformer(folder).training_size


def test_a_vocabulary_that_does_not_fit_two_bytes_is_refused(folder):
    words = ["<pad>", "<EOS>", *map(str, range(1 << 16))]
    with pytest.raises(DataError, match="too large"):
        encoded(folder / "train.en", Subwords(words))


torch = pytest.importorskip("torch")

from gnomon.tasks.training import wmt_learner  # noqa: E402
from gnomon.tasks.training.transformer import Transformer  # noqa: E402
from gnomon.tasks.training.translation_beam import beam_search, length_penalty  # noqa: E402
from gnomon.tasks.training.wmt_gnmt import Gnmt  # noqa: E402


@pytest.fixture(params=[WmtTransformer, WmtGnmt])
def small(request, folder, monkeypatch):
    """Either task, with its model made small."""
    monkeypatch.setattr(wmt_learner, "BIG", {"dim": 32, "heads": 4, "inner": 64, "layers": 2})
    monkeypatch.setattr(wmt_learner, "GNMT", {"dim": 32, "layers": 4})
    return request.param(folder)


def gradients(learner):
    learner.model.eval()  # dropout differs between processes
    learner.loss(learner.model, next(learner.batches(1))).backward()
    return {name: weight.grad for name, weight in learner.model.named_parameters()}


def test_the_gradients_of_two_processes_average_to_those_of_one(small):
    whole = gradients(small.learner(Recipe(3, RECIPE)))
    both = [gradients(small.learner(Recipe(3, RECIPE, rank=rank, world_size=2))) for rank in (0, 1)]
    for name, gradient in whole.items():
        average = (both[0][name] + both[1][name]) / 2
        torch.testing.assert_close(average, gradient, atol=1e-6, rtol=1e-3)


def test_a_run_begins_with_the_same_weights_and_batches_for_a_seed(small):
    one, same = (small.learner(Recipe(5, RECIPE)) for _ in range(2))
    for first, second in zip(one.model.parameters(), same.model.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=0, rtol=0)
    for first, second in zip(one.batches(1), same.batches(1), strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


def test_a_model_learns_and_translates_by_beam_search(small):
    learner = small.learner(Recipe(1, {**RECIPE, "opt_base_learning_rate": 0.01}))
    learner.load_data()
    losses = []
    for epoch in range(1, 5):
        for batch in learner.batches(epoch):
            learner.optimizer.zero_grad()
            loss = learner.loss(learner.model, batch)
            loss.backward()
            learner.optimizer.step()
            losses.append(loss.item())
    assert len(losses) == 4 * (38 // 8) if small.training_size == 38 else losses
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    learner.model.eval()
    with torch.inference_mode():
        answers = learner.answers(np.array([1, 0]))
        np.testing.assert_array_equal(learner.answers(np.array([0])), answers[1:])
    assert answers.shape == (2, 256)
    assert (token_counts(answers) > 0).all()
    assert learner.loss(learner.model, learner.made_up_batch()).isfinite()


def test_padding_changes_nothing(small):
    learner = small.learner(Recipe(2, RECIPE))
    learner.model.eval()
    source, target = next(learner.batches(1))
    pad = torch.nn.functional.pad
    with torch.inference_mode():
        torch.testing.assert_close(
            learner.loss(learner.model, (pad(source, (0, 4)), pad(target, (0, 3)))),
            learner.loss(learner.model, (source, target)),
        )


def test_beams_score_a_translation_as_the_model_scores_it_whole(small):
    learner = small.learner(Recipe(2, RECIPE))
    model = learner.model.eval()
    source, target = (batch[:3] for batch in next(learner.batches(1)))
    given = torch.nn.functional.pad(target[:, :-1], (1, 0))
    with torch.inference_mode():
        whole = model(source, given, torch.ones_like(given, dtype=torch.bool))
        whole = whole.view(*given.shape, -1).log_softmax(2)
        state = learner._begin(source, 2, given.shape[1])
        swap = torch.tensor([1, 0, 3, 2, 5, 4])
        for place in range(given.shape[1]):
            found = state.step(given[:, place].repeat_interleave(2), place)
            torch.testing.assert_close(found[::2], whole[:, place], atol=1e-4, rtol=1e-4)
            state.reorder(swap)


class Chain:
    """A made-up model whose next token depends on the last one and the sentence alone."""

    def __init__(self, tables, beams):
        self.tables = tables.repeat_interleave(beams, 0)

    def step(self, tokens, place):
        return self.tables[torch.arange(len(tokens)), tokens]

    def reorder(self, rows):
        self.tables = self.tables[rows]


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_a_wide_beam_finds_the_best_of_all_translations(seed):
    """Oracle: every sequence of up to three tokens."""
    tables = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(2)
    longest = torch.tensor([3, 2])
    found = beam_search(Chain(tables, 16), 2, 16, longest, alpha=0.6)
    for table, row, most in zip(tables, found.tolist(), longest.tolist(), strict=True):
        ended = [
            (*middle, END)
            for length in range(most)
            for middle in itertools.product((0, 2, 3), repeat=length)
        ]

        def rated(tokens, table=table):
            steps = zip((0, *tokens[:-1]), tokens, strict=True)
            total = sum(table[before, after].item() for before, after in steps)
            return total / length_penalty(len(tokens), 0.6)

        best = max(ended, key=rated)
        assert tuple(row[: len(best)]) == best
        assert not any(row[len(best) :])


def test_a_translation_that_never_ends_is_cut_at_its_limit():
    table = torch.full((1, 4, 4), -9.0)
    table[:, :, 3] = -0.01
    table[:, :, END] = -torch.inf
    found = beam_search(Chain(table, 2), 1, 2, torch.tensor([5]), alpha=0.6)
    assert found.tolist() == [[3, 3, 3, 3, 3]]


def test_the_full_models_have_the_fields_number_of_weights():
    """211 million of Transformer (big) at 33,945 subwords; 160 million of GNMT at 32,320."""
    with torch.device("meta"):
        big = Transformer(33945, **wmt_learner.BIG, dropout=0.1, longest=256)
        gnmt = Gnmt(32320, **wmt_learner.GNMT, dropout=0.2)
    assert sum(one.numel() for one in big.parameters()) == pytest.approx(211e6, rel=0.01)
    assert sum(one.numel() for one in gnmt.parameters()) == pytest.approx(160e6, rel=0.02)
