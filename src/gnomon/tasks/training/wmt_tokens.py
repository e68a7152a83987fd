"""Text files with one sentence a line as token ids on disk, made once and mapped into memory.

Cutting millions of sentences into subwords takes minutes; the rules let that be done before the clock, once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.files import write_atomically
from gnomon.core.task import IndexArray
from gnomon.tasks.training.translation_subwords import END, Subwords


@dataclass(frozen=True)
class Sentences:
    """Token ids of many sentences, one after the other.

    Attributes:
        tokens: Of all, each sentence followed by `END`, uint16 (total,).
        starts: Where each begins, and where the last one ends, int64 (n + 1,).
    """

    tokens: NDArray[np.uint16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Tokens of each sentence, its end included, shape (n,)."""
        return np.diff(self.starts)

    def padded(self, which: IndexArray) -> NDArray[np.int64]:
        """Some of them as one array, padded with zeros after the longest: (len(which), longest)."""
        starts, ends = self.starts[which], self.starts[which + 1]
        places = starts[:, None] + np.arange(int((ends - starts).max(initial=0)))
        inside = places < ends[:, None]
        array = self.tokens[np.where(inside, places, 0)].astype(np.int64)
        return np.where(inside, array, 0)


def encoded(path: Path, subwords: Subwords) -> Sentences:
    """The sentences of a text file.

    They are kept in a file beside it, named after text and vocabulary, so that the next run only maps it;
    where nothing can be written they stay in memory.

    Raises:
        DataError: The file is missing, or not UTF-8; or the vocabulary is too large to keep ids in two bytes.
    """
    if len(subwords) > 1 << 16:
        raise DataError(
            f"a vocabulary of {len(subwords)} subwords is too large: at most {1 << 16} are supported"
        )
    kept = path.with_name(f".{path.name}.{_fingerprint(path, subwords)}.tokens.npy")
    if not kept.exists():
        fresh = _encode(path, subwords)
        buffer = io.BytesIO()
        np.save(buffer, fresh.tokens)
        try:
            write_atomically(kept, buffer.getvalue())
        except OSError:
            return fresh
    tokens: NDArray[np.uint16] = np.load(kept, mmap_mode="r", allow_pickle=False)
    ends = np.flatnonzero(tokens == END).astype(np.int64) + 1
    return Sentences(tokens, np.concatenate([np.zeros(1, np.int64), ends]))


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, stripped; only a line feed ends one.

    Raises:
        DataError: It is missing, or not UTF-8.
    """
    number = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                number += 1
                yield line.strip()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: it must hold one sentence a line") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 after line {number}: convert it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _encode(path: Path, subwords: Subwords) -> Sentences:
    parts, starts, total = [], [0], 0
    for line in lines(path):
        sentence = np.array([*subwords.encode(line), END], np.uint16)
        parts.append(sentence)
        total += len(sentence)
        starts.append(total)
    tokens = np.concatenate(parts) if parts else np.empty(0, np.uint16)
    return Sentences(tokens, np.array(starts, np.int64))


def _fingerprint(path: Path, subwords: Subwords) -> str:
    """Of vocabulary and text; of a text of gigabytes only its length and when it was written."""
    try:
        found = path.stat()
    except OSError:
        raise DataError(f"there is no file {path}: it must hold one sentence a line") from None
    what = f"{found.st_size} {found.st_mtime_ns}\n" + "\n".join(subwords.subwords)
    return hashlib.sha256(what.encode()).hexdigest()[:16]
