"""A small click log that is learned in a second, shared by the tests of this folder."""

from gnomon.recommend.config import DlrmConfig
from gnomon.recommend.data import SyntheticClicks
from gnomon.recommend.recipe import Optimizer, Recipe
from gnomon.tasks.clicks import ClickLog

LOG = ClickLog(rows=(400, 60, 8), id_weight=2.0, interaction_weight=0.3)
SOURCE = SyntheticClicks(6000, 3000, LOG)
MODEL = DlrmConfig(dense=13, tables=3, dim=8, bottom=(16, 8), top=(16, 1))
RECIPE = Recipe(Optimizer("adagrad", 0.05), Optimizer("adam", 3e-3), 256)
