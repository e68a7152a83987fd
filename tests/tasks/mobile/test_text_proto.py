"""The text format of protocol buffers: what it can say, and the line of what means nothing."""

import math

import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.text_proto import (
    Field,
    MessageType,
    Scalar,
    parse_text_proto,
    read_text_proto,
)

LEAF = MessageType(
    "Leaf",
    {
        "colour": Field(("RED", "GREEN"), default="GREEN"),
        "size": Field(Scalar.FLOAT, required=True),
    },
)
TREE = MessageType(
    "Tree",
    {
        "name": Field(Scalar.STRING),
        "height": Field(Scalar.INT32, default=7),
        "age": Field(Scalar.INT64),
        "fir": Field(Scalar.BOOL),
        "years": Field(Scalar.INT32, repeated=True),
        "leaf": Field(LEAF, repeated=True),
    },
)


def parsed(text):
    return parse_text_proto(text, TREE, "tree.pbtxt")


def test_every_way_to_write_a_field_is_read():
    tree = parsed(
        """# a comment
        name: "fir \\"one\\"\\n\\x41\\101\\303\\244" ' and more'; height: -0x10, age: 9000000000
        fir: true  # another
        years: 1 years: [2, 010] years: []
        leaf { size: 1.5 colour: RED }
        leaf: < size: -.5e1f >
        leaf: [{ size: 3 }, { size: inf }]
        """
    )
    assert tree["name"] == 'fir "one"\nAAä and more'
    assert (tree["height"], tree["age"], tree["fir"]) == (-16, 9_000_000_000, True)
    assert tree["years"] == [1, 2, 8]
    assert [leaf["size"] for leaf in tree["leaf"]] == [1.5, -5.0, 3.0, math.inf]
    assert [leaf["colour"] for leaf in tree["leaf"]] == ["RED", "GREEN", "GREEN", "GREEN"]
    assert [leaf.line for leaf in tree["leaf"]] == [5, 6, 7, 7]
    assert tree.lines["years"] == 4


def test_what_is_not_there_has_its_default():
    tree = parsed("")
    assert tree.values == {
        "name": None,
        "height": 7,
        "age": None,
        "fir": None,
        "years": [],
        "leaf": [],
    }
    assert tree.lines == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: 'a'\nhight: 3", "line 2: Tree has no field 'hight': did you mean 'height'?"),
        ("leaf { size: 1\n crown: 2 }", "line 2: Leaf has no field 'crown': known: colour, size"),
        ("\n\nleaf {\n colour: RED\n}", "line 5: Leaf of line 3 has no size, which it must have"),
        ("leaf {\n size: 1\n", "line 3: Leaf of line 1 is not closed: }"),
        ("leaf { size: 1 >", "line 1: '>' is no name of a field of Leaf"),
        ("}", "line 1: '}' is no name"),
        ("height: 1\nheight: 2", "line 2: height stands more than once in one Tree"),
        ("height: [1, 2]", "line 1: height stands more than once"),
        ("height: 3.5", "line 1: height must be a whole number of 32 bits, not 3.5"),
        ("height: 3000000000", "line 1: height must be a whole number of 32 bits"),
        ("height: 1e", "line 1"),
        ("height: 'x'", "line 1: height must be a whole number"),
        ("height 3", "line 1: after height there must be a colon"),
        ("height:", "line 1: height must be a whole number of 32 bits, not nothing"),
        ("name: fir", "line 1: name must be a string in quotes, not fir"),
        ("name: 'fir", 'line 1: "\'" means nothing here'),
        ("name: '\\q'", "line 1: '\\q' has an escape that means nothing"),
        ("name: '\\xff'", "has an escape that means nothing"),
        ("fir: yes", "line 1: fir must be true or false, not yes"),
        ("leaf: 3", "line 1: after leaf there must be Leaf in { }"),
        ("leaf { size: 1 colour: BLUE }", "line 1: colour must be one of RED, GREEN, not BLUE"),
        ("leaf { size: big }", "line 1: size must be a number, not big"),
        ("years: [1 2]", "line 1: the list of years is not closed: ]"),
        ("years: [1, 2", "line 1: the list of years is not closed"),
        ("height: 1 @", "line 1: '@' means nothing here"),
        ("[a.b]: 1", "line 1: '[' is no name of a field of Tree"),
    ],
)
def test_a_line_that_means_nothing_is_named(text, complaint):
    with pytest.raises(DataError) as caught:
        parsed(text)
    assert str(caught.value).startswith("tree.pbtxt line ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_text_proto(tmp_path / "none", TREE)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="bytes is no text"):
        read_text_proto(tmp_path / "bytes", TREE)
