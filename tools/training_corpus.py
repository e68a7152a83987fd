"""Make the parallel corpus of `train-translation`: write `emoji-names-en-de.json.gz`.

    pip install emoji==2.14.1 gnomon && python tools/training_corpus.py

The emoji package (BSD-3-Clause, Taehoon Kim, Kevin Wurster) carries the names that Unicode's Common Locale
Data Repository (Unicode License v3, copyright Unicode, Inc.) gives to every emoji in English and German. Both
licences allow redistribution with their notices, which lie beside the corpus, in
`emoji-names-en-de.LICENSE.txt`. Fully qualified emoji are taken, underscores made spaces. A pair that shares
its source or its translation with one before it, upper and lower case alike, is left out, so that nothing
that is held out is trained on.

500 pairs, drawn once and for all, are held out. The subwords are byte pairs merged by how often
they stand together in the training pairs only (Sennrich et al. 2016, arXiv:1508.07909).
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import emoji
import numpy as np

from gnomon.tasks.training.translation_subwords import RESERVED, runs

OUT = (
    Path(__file__).parents[1] / "src" / "gnomon" / "data" / "training" / "emoji-names-en-de.json.gz"
)
PINNED = "2.14.1"
HELD_OUT = 500
MERGES = 600
SEED = 0
FULLY_QUALIFIED = 2
SPELLING = "0123456789\\;u_"
"""What a vocabulary needs to write any character."""


def names() -> list[tuple[str, str]]:
    """English and German, in the package's order, each at most once."""
    emoji.config.load_language(["en", "de"])
    pairs: list[tuple[str, str]] = []
    taken: set[str] = set()
    for entry in emoji.EMOJI_DATA.values():
        if entry["status"] != FULLY_QUALIFIED or "de" not in entry:
            continue
        english, german = (entry[one].strip(":").replace("_", " ") for one in ("en", "de"))
        keys = {f"en {english.casefold()}", f"de {german.casefold()}"}
        if not keys & taken:
            taken |= keys
            pairs.append((english, german))
    return pairs


def byte_pairs(texts: Iterable[str], merges: int) -> list[str]:
    """Subwords in the order they are merged, then single characters; ties go to the alphabet."""
    counts = Counter(
        run.replace("\\", "\\\\").replace("_", "\\u") + "_" for text in texts for run in runs(text)
    )
    spelt = {word: list(word) for word in counts}
    merged: list[str] = []
    while len(merged) < merges:
        together: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelt.items():
            for pair in pairwise(pieces):
                together[pair] += counts[word]
        (left, right), _ = min(together.items(), key=lambda item: (-item[1], item[0]))
        merged.append(left + right)
        for pieces in spelt.values():
            place = 0
            while place < len(pieces) - 1:
                if pieces[place] == left and pieces[place + 1] == right:
                    pieces[place : place + 2] = [left + right]
                place += 1
    return merged + sorted({*"".join(counts), *SPELLING})


def main() -> None:
    """Write the corpus."""
    if version("emoji") != PINNED:
        raise SystemExit(f"the corpus is made from emoji {PINNED}: pip install emoji=={PINNED}")
    pairs = names()
    order = np.random.default_rng(SEED).permutation(len(pairs)).tolist()
    pairs = [pairs[place] for place in order]
    training = (text for pair in pairs[HELD_OUT:] for text in pair)
    subwords = [f"{word}_" for word in RESERVED] + byte_pairs(training, MERGES)
    whole = {"from": f"emoji {PINNED}", "pairs": pairs, "subwords": subwords}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
    OUT.write_bytes(gzip.compress(text, compresslevel=9, mtime=0))
    print(f"{OUT}: {len(pairs)} pairs, {len(subwords)} subwords, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
