"""Sentences as subwords and back without loss, in the vocabulary format of the field's Transformer.

A vocabulary is a list of subwords; a file of it has one quoted subword a line, as tensor2tensor writes
`vocab.translate_ende_wmt32k.32768.subwords`. Nothing but the list decides how a sentence is cut.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from gnomon.core.errors import DataError

PADDING, END = 0, 1
RESERVED = ("<pad>", "<EOS>")
"""The first lines of a vocabulary, with or without a trailing underscore."""

RUNS = re.compile(r"[^\W_]+|[\W_]+")
"""Letters and digits, or what stands between: `x = 5` makes `x`, ` = ` and `5`."""

ESCAPED = re.compile(r"\\u|\\\\|\\([0-9]+);")


class Subwords:
    r"""Cuts text by the longest subword at each place.

    A text is split into runs of word characters and runs of others, a single space between two words is
    implied, and each run ends with an underscore. `_` itself is written `\u`, a backslash twice, and a
    character that no subword has `\<code point>;`.

    Args:
        subwords: By token id; the first two are reserved for padding and the end of a sentence.
        name: Where they come from, for errors.
    """

    def __init__(self, subwords: Sequence[str], name: str = "the vocabulary") -> None:
        if tuple(word.removesuffix("_") for word in subwords[:2]) != RESERVED:
            raise DataError(
                f"{name} begins with {', '.join(map(repr, subwords[:2]))}, not with {RESERVED[0]!r} and "
                f"{RESERVED[1]!r}: give a subword vocabulary as tensor2tensor writes it"
            )
        self.subwords = tuple(subwords)
        self._name = name
        self._cut: dict[str, tuple[int, ...]] = {}

    @classmethod
    def read(cls, path: Path) -> Subwords:
        """The vocabulary of a file with one subword a line, in quotes or without.

        Raises:
            DataError: It is missing, not UTF-8, or holds no vocabulary.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise DataError(f"there is no subword vocabulary {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"subword vocabulary {path} cannot be read: {error}") from None
        words = []
        for number, line in enumerate(lines, 1):
            quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "'\""
            try:
                words.append(str(ast.literal_eval(line)) if quoted else line)
            except (SyntaxError, ValueError):
                raise DataError(
                    f"subword vocabulary {path} has line {number} with a quote that does not close: {line}"
                ) from None
        return cls(words, str(path))

    def __len__(self) -> int:
        return len(self.subwords)

    @cached_property
    def _ids(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for number, word in enumerate(self.subwords[2:], 2):
            first.setdefault(word, number)
        return first

    @cached_property
    def _letters(self) -> frozenset[str]:
        return frozenset("".join(self.subwords[2:]))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.subwords))

    def encode(self, text: str) -> list[int]:
        """The token ids of a sentence, without an end.

        Raises:
            DataError: The vocabulary lacks what is needed to write a character that it does not have.
        """
        tokens: list[int] = []
        for run in runs(text):
            if run not in self._cut:
                self._cut[run] = tuple(self._cut_run(self._escaped(run)))
            tokens.extend(self._cut[run])
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids, up to the first end; any ids make some text."""
        words = []
        for token in tokens:
            if token == END:
                break
            if token != PADDING and 0 <= token < len(self.subwords):
                words.append(self.subwords[token])
        spelt = [_unescaped(run) for run in "".join(words).split("_")]
        return joined([run for run in spelt if run])

    def _escaped(self, run: str) -> str:
        run = run.replace("\\", "\\\\").replace("_", "\\u")
        known = self._letters
        return (
            "".join(one if one in known and one != "\n" else f"\\{ord(one)};" for one in run) + "_"
        )

    def _cut_run(self, escaped: str) -> Iterable[int]:
        start = 0
        while start < len(escaped):
            for end in range(min(len(escaped), start + self._longest), start, -1):
                token = self._ids.get(escaped[start:end])
                if token is not None:
                    yield token
                    start = end
                    break
            else:
                raise DataError(
                    f"{self._name} has no subword {escaped[start]!r}, which it needs to write {escaped!r}: "
                    f"every character of its own, digits, '\\', ';', 'u' and '_' must be subwords too"
                )


def runs(text: str) -> list[str]:
    """A text as runs of word characters and of others; a single space between two words is left out."""
    found = RUNS.findall(text)
    return [run for place, run in enumerate(found) if run != " " or place in (0, len(found) - 1)]


def joined(pieces: Sequence[str]) -> str:
    """The inverse of `runs`."""
    out: list[str] = []
    for place, run in enumerate(pieces):
        if place and _is_word(pieces[place - 1]) and _is_word(run):
            out.append(" ")
        out.append(run)
    return "".join(out)


def _is_word(run: str) -> bool:
    return bool(re.match(r"[^\W_]", run))


def _unescaped(run: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return "_" if match[0] == "\\u" else "\\"
        code = int(match[1])
        return chr(code) if code <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"

    return ESCAPED.sub(one, run)
