"""Click-through models: DLRM over compressed embedding tables, trained, swept and saved.

Everything that trains needs PyTorch (extra `train`); configurations, records and summaries do not.
"""

from gnomon.recommend.config import DLRM_SMALL, DLRM_V1, DLRM_V2, DlrmConfig

__all__ = ["DLRM_SMALL", "DLRM_V1", "DLRM_V2", "DlrmConfig"]
