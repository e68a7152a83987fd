"""Click prediction: Criteo's files and their likes, a synthetic log that can be learned, and the AUC.

log = ClickLog()                                  # or CriteoTsv, CriteoBinary, CriteoNpy
for batch in log.batches(0, 1_000_000, 2048):     # ClickBatch: dense, ids, labels
    ...
roc_auc(scores, labels)
"""

from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.clicks.batch import (
    DENSE_FEATURES,
    MLPERF_V2,
    MLPERF_V2_HOTNESS,
    MLPERF_V2_ROWS,
    TABLES,
    ClickBatch,
    ClickSchema,
)
from gnomon.tasks.clicks.binary import CriteoBinary, read_counts
from gnomon.tasks.clicks.dense import DenseTransform
from gnomon.tasks.clicks.multi_hot import MultiHot
from gnomon.tasks.clicks.npy import CriteoNpy
from gnomon.tasks.clicks.splits import EvaluationSplit, dlrm_split, torchrec_split
from gnomon.tasks.clicks.synthetic import SYNTHETIC_ROWS, ClickLog
from gnomon.tasks.clicks.tsv import CriteoTsv, LineReport, MalformedLine

__all__ = [
    "DENSE_FEATURES",
    "MLPERF_V2",
    "MLPERF_V2_HOTNESS",
    "MLPERF_V2_ROWS",
    "SYNTHETIC_ROWS",
    "TABLES",
    "ClickBatch",
    "ClickLog",
    "ClickSchema",
    "CriteoBinary",
    "CriteoNpy",
    "CriteoTsv",
    "DenseTransform",
    "EvaluationSplit",
    "LineReport",
    "MalformedLine",
    "MultiHot",
    "dlrm_split",
    "read_counts",
    "roc_auc",
    "torchrec_split",
]
