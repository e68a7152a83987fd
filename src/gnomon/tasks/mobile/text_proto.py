"""The text format of protocol buffers, read strictly: fields must be declared, an error names its line.

Format: protobuf.dev/reference/protobuf/textformat-spec. Extensions and `Any` are not read. The app's task
files and the truth of its detection data are written in it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from gnomon.core.errors import DataError, nearest_name

TOKEN = re.compile(
    r"""(?P<skip>[\s]+|\#[^\n]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?|inf\w*|nan)\b)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<sign>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPED = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))
BRACKETS = {"{": "}", "<": ">"}
TRUTHS = {"true": True, "t": True, "True": True, "1": True}
FALSEHOODS = {"false": False, "f": False, "False": False, "0": False}
LEAST_INT32, MOST_INT32 = -(2**31), 2**31 - 1


class Scalar(Enum):
    """What a field that is no message holds."""

    STRING = "a string in quotes"
    INT32 = "a whole number of 32 bits"
    INT64 = "a whole number"
    FLOAT = "a number"
    BOOL = "true or false"


@dataclass(frozen=True)
class MessageType:
    """A message as it is declared.

    Attributes:
        name: In messages to people.
        fields: By name.
    """

    name: str
    fields: Mapping[str, Field]


Kind: TypeAlias = Scalar | MessageType | tuple[str, ...]
"""Of a field; a tuple is the names of an enumeration."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        kind: What it holds.
        repeated: Whether it may stand there often; it then is a list, which may be empty.
        required: Whether it must be there.
        default: Its value where it is not.
    """

    kind: Kind
    repeated: bool = False
    required: bool = False
    default: Any = None


@dataclass
class Message:
    """What was read: every declared field by name, `None` or its default where it was not there.

    Attributes:
        line: Where it begins, from 1.
        values: By name of the field.
        lines: Where each field that was there stands.
    """

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class Token(NamedTuple):
    """A piece of the text; `kind` is the name of its group in `TOKEN`, or `end`."""

    kind: str
    text: str
    place: int


def read_text_proto(file: Path, kind: MessageType) -> Message:
    """The message in a file.

    Raises:
        DataError: The file cannot be read, or a line of it means nothing.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is no text: it must be a message in text format") from None
    return parse_text_proto(text, kind, str(file))


def parse_text_proto(text: str, kind: MessageType, where: str) -> Message:
    """The message that a text is.

    Args:
        text: All of it.
        kind: What it must be.
        where: The name of the file, for errors.

    Raises:
        DataError: A line means nothing, or a field is missing.
    """
    return _Reader(text, where).whole(kind)


class _Reader:
    """A text that is read from its beginning to its end, one token at a time."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._place = 0
        self._next = self._scanned()

    def whole(self, kind: MessageType) -> Message:
        return self._message(kind, "end", 1)

    def _scanned(self) -> Token:
        while self._place < len(self._text):
            match = TOKEN.match(self._text, self._place)
            if match is None:
                self._fail(self._place, f"{self._text[self._place]!r} means nothing here")
            token = Token(str(match.lastgroup), match.group(), self._place)
            self._place = match.end()
            if token.kind != "skip":
                return token
        return Token("end", "", self._place)

    def _take(self) -> Token:
        taken, self._next = self._next, self._scanned()
        return taken

    def _take_if(self, *texts: str) -> bool:
        if self._next.kind == "sign" and self._next.text in texts:
            self._take()
            return True
        return False

    def _line(self, place: int) -> int:
        return bisect_right(self._line_starts, place)

    def _fail(self, place: int, complaint: str) -> NoReturn:
        raise DataError(f"{self._where} line {self._line(place)}: {complaint}") from None

    def _message(self, kind: MessageType, closing: str, line: int) -> Message:
        """Fields up to the closing bracket, which is taken too."""
        message = Message(line)
        while True:
            token = self._take()
            if token.kind == "end" or token.text == closing:
                if token.kind == "end" and closing != "end":
                    self._fail(token.place, f"{kind.name} of line {line} is not closed: {closing}")
                self._complete(message, kind, token.place)
                return message
            if token.kind != "name":
                self._fail(token.place, f"{token.text!r} is no name of a field of {kind.name}")
            self._field(message, kind, token)
            self._take_if(",", ";")

    def _field(self, message: Message, kind: MessageType, name: Token) -> None:
        declared = kind.fields.get(name.text)
        if declared is None:
            nearest = nearest_name(name.text, kind.fields)
            mend = f"did you mean {nearest!r}?" if nearest else f"known: {', '.join(kind.fields)}"
            self._fail(name.place, f"{kind.name} has no field {name.text!r}: {mend}")
        values = self._values(declared, name.text)
        message.lines.setdefault(name.text, self._line(name.place))
        if declared.repeated:
            message.values.setdefault(name.text, []).extend(values)
        elif name.text in message.values or len(values) != 1:
            self._fail(name.place, f"{name.text} stands more than once in one {kind.name}")
        else:
            message.values[name.text] = values[0]

    def _values(self, declared: Field, name: str) -> list[Any]:
        is_message = isinstance(declared.kind, MessageType)
        if not self._take_if(":") and not is_message:
            self._fail(
                self._next.place, f"after {name} there must be a colon and {_words(declared)}"
            )
        if not self._take_if("["):
            return [self._value(declared, name)]
        values = []
        while not self._take_if("]"):
            values.append(self._value(declared, name))
            if not self._take_if(",") and self._next.text != "]":
                self._fail(self._next.place, f"the list of {name} is not closed: ]")
        return values

    def _value(self, declared: Field, name: str) -> Any:
        token = self._take()
        if isinstance(declared.kind, MessageType):
            if token.text not in BRACKETS:
                self._fail(token.place, f"after {name} there must be {declared.kind.name} in {{ }}")
            return self._message(declared.kind, BRACKETS[token.text], self._line(token.place))
        value = self._string(token) if token.kind == "string" else _plain(declared.kind, token)
        if value is None or (token.kind == "string") != (declared.kind is Scalar.STRING):
            self._fail(
                token.place, f"{name} must be {_words(declared)}, not {token.text or 'nothing'}"
            )
        return value

    def _string(self, token: Token) -> str:
        """What is in the quotes, and in those that follow at once."""
        raw = token.text[1:-1].encode()
        while self._next.kind == "string":
            raw += self._take().text[1:-1].encode()
        try:
            return ESCAPE.sub(_unescaped, raw).decode()
        except (KeyError, ValueError):
            self._fail(token.place, f"{token.text} has an escape that means nothing")

    def _complete(self, message: Message, kind: MessageType, place: int) -> None:
        for name, declared in kind.fields.items():
            if name in message.values:
                continue
            if declared.required:
                line = f" of line {message.line}" if message.line > 1 else ""
                self._fail(place, f"{kind.name}{line} has no {name}, which it must have")
            message.values[name] = [] if declared.repeated else declared.default


def _plain(kind: Scalar | tuple[str, ...], token: Token) -> Any:
    """The value of a token that is no string, or None if it is none of this kind."""
    if isinstance(kind, tuple):
        return token.text if token.kind == "name" and token.text in kind else None
    if kind is Scalar.BOOL:
        return (TRUTHS | FALSEHOODS).get(token.text)
    text = token.text.replace(" ", "")
    try:
        if kind is Scalar.FLOAT:
            return float(text.rstrip("fF") if text[-1:] in "fF" and "inf" not in text else text)
        if kind in (Scalar.INT32, Scalar.INT64):
            octal = re.fullmatch("(-?)0([0-7]+)", text)
            value = int(octal[1] + octal[2], 8) if octal else int(text, 0)
            small = kind is Scalar.INT64 or LEAST_INT32 <= value <= MOST_INT32
            return value if small else None
    except ValueError:
        pass
    return None


def _unescaped(match: re.Match[bytes]) -> bytes:
    letter = match[1]
    if letter[:1] == b"x" and len(letter) > 1:
        return bytes([int(letter[1:], 16)])
    if letter[:1].isdigit():
        return bytes([int(letter, 8)])
    return bytes([ESCAPED[letter[0]]])


def _words(declared: Field) -> str:
    if isinstance(declared.kind, tuple):
        return f"one of {', '.join(declared.kind)}"
    assert isinstance(declared.kind, Scalar)
    return declared.kind.value
