"""Packages that may be missing: what is there is imported, what is not names its extra."""

import json
import sys

import pytest

from gnomon.core.errors import MissingExtraError
from gnomon.core.extras import optional_module


def test_a_module_that_is_there_is_given():
    assert optional_module("json", "json", "tiny", "reading") is json


def test_one_that_cannot_be_imported_names_what_to_install_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError) as caught:
        optional_module("PIL.Image", "pillow", "mobile", "reading a.png")
    assert str(caught.value) == "reading a.png needs pillow: pip install 'gnomon[mobile]'"
    assert caught.value.__suppress_context__
