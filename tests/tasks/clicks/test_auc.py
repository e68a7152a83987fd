"""The AUC: scikit-learn's figure, ties and all, and scores that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from gnomon.core.errors import DataError
from gnomon.tasks.clicks import roc_auc


@st.composite
def scored(draw):
    n = draw(st.integers(2, 60))
    labels = draw(hnp.arrays(np.float32, n, elements=st.sampled_from([0.0, 1.0])))
    labels[:2] = 0, 1
    few = st.sampled_from([-1.5, 0.0, 0.25, 3.0])  # so that most samples are tied
    many = st.floats(-1e6, 1e6, width=32)
    return draw(hnp.arrays(np.float32, n, elements=draw(st.sampled_from([few, many])))), labels


@settings(deadline=None)
@given(scored())
def test_the_auc_is_scikit_learns(sample):
    scores, labels = sample
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_auc_of_many_scores_is_scikit_learns():
    random = np.random.default_rng(0)
    scores = random.random(200_000, np.float32).round(3)
    labels = random.random(200_000) < scores
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_right_wrong_and_tied_scores_give_one_nought_and_a_half():
    labels = [0, 0, 1, 1]
    assert roc_auc([1, 2, 3, 4], labels) == 1
    assert roc_auc([4, 3, 2, 1], labels) == 0
    assert roc_auc([7, 7, 7, 7], labels) == 0.5
    assert roc_auc([-np.inf, 0, 0, np.inf], labels) == 0.875


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.1, np.nan, np.nan], [0, 1, 0], "2 of 3 scores are NaN, first at sample 1"),
        ([0.1, 0.2], [1, 1], "clicks and non-clicks, got 2 and 0"),
        ([0.1, 0.2], [0, 0], "clicks and non-clicks, got 0 and 2"),
        ([], [], "clicks and non-clicks, got 0 and 0"),
        ([0.1, 0.2], [0, 2], "0 or 1 for AUC, got 2"),
        ([0.1, 0.2], [0.0, np.nan], "0 or 1 for AUC, got nan"),
        ([0.1], [0, 1], r"got shapes \(1,\) and \(2,\)"),
        ([[0.1]], [[1]], r"got shapes \(1, 1\)"),
    ],
)
def test_what_has_no_auc_is_refused_with_the_mend(scores, labels, words):
    with pytest.raises(DataError, match=words):
        roc_auc(scores, labels)
