"""The seeds of a campaign: all of them follow from one, which is drawn from the operating system or given."""

from __future__ import annotations

import secrets

import numpy as np


def draw_seed() -> int:
    """One that nobody chose."""
    return secrets.randbits(32)


def run_seed(campaign_seed: int, number: int) -> int:
    """Of a run by its number, from 1: the same whether the others were trained or not.

    Returns:
        Below 2**31, which every framework's generators take.
    """
    drawn = np.random.SeedSequence([campaign_seed, number]).generate_state(1)[0]
    return int(drawn) >> 1
