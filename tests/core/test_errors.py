"""The family of errors: its tree, its one-line messages, and the nearest name that they offer."""

import inspect
import pkgutil
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gnomon
from gnomon.core import errors
from gnomon.core.errors import (
    GnomonError,
    GnomonWarning,
    MissingExtraError,
    UnknownNameError,
    UsageError,
    nearest_name,
)

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


def printed_tree():
    """The tree in the module's docstring as {class: parent}."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        drawn, _, rest = line.rpartition("── ")
        name = (rest or line).split()[0] if line.strip() else ""
        if not (drawn or name == "GnomonError"):
            continue
        depth = (len(drawn) - 1) // 4 if drawn else 0  # four columns of indent, then four a level
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "Exception"
    return parents


def real_tree():
    """Every error of this package as {class: parent}, wherever it is defined."""
    for module in pkgutil.walk_packages(gnomon.__path__, "gnomon."):
        import_module(module.name)
    parents, unseen = {}, [GnomonError]
    while unseen:
        kind = unseen.pop()
        if kind.__module__.startswith("gnomon."):
            parents[kind.__name__] = kind.__base__.__name__
            unseen += kind.__subclasses__()
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    assert printed_tree() == real_tree()


def test_every_error_can_be_imported_from_the_top():
    assert set(real_tree()) <= set(gnomon.__all__)


def test_a_warning_is_no_error():
    assert issubclass(GnomonWarning, UserWarning)
    assert not issubclass(GnomonWarning, GnomonError)


def test_what_a_user_asked_for_wrongly_is_one_kind():
    usage = {
        kind.__name__
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, UsageError) and kind is not UsageError
    }
    assert usage == {"UnknownNameError", "SettingsError", "ConfigError"}


def test_an_unknown_name_offers_the_nearest_one():
    error = UnknownNameError("scenario", "servr", SCENARIOS)
    assert str(error) == "unknown scenario 'servr': did you mean 'server'?"
    assert (error.kind, error.name, error.nearest) == ("scenario", "servr", "server")


def test_a_name_like_no_other_is_answered_with_all_of_them_in_order():
    error = UnknownNameError("scenario", "xyz", SCENARIOS)
    assert str(error) == (
        "unknown scenario 'xyz': known: multi-stream, offline, server, single-stream"
    )
    assert error.nearest is None


def test_where_nothing_is_known_it_says_so():
    assert str(UnknownNameError("task", "x", [])) == "unknown task 'x': none is registered"


def test_a_hint_follows_the_mend():
    error = UnknownNameError("scenario", "ofline", iter(SCENARIOS), "(--scenario)")
    assert str(error) == "unknown scenario 'ofline': did you mean 'offline'? (--scenario)"


def test_a_missing_package_names_the_extra_to_install():
    error = MissingExtraError("torch", "models", "training the digits model")
    assert str(error) == "training the digits model needs torch: pip install 'gnomon[models]'"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("digts", "digits"),
        ("digit", "digits"),
        ("DIGITS", "digits"),
        ("Offline", "offline"),
        ("single_stream", "single-stream"),
        ("SingleStream", "single-stream"),
        ("target-qps", "target_qps"),
        ("q", None),
        ("", None),
        ("zebra", None),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant_or_none(typed, meant):
    assert nearest_name(typed, ["digits", "target_qps", *SCENARIOS]) == meant


def test_a_name_that_exists_in_capitals_keeps_them_in_the_offer():
    assert nearest_name("cpuexecutionprovider", ["CPUExecutionProvider"]) == "CPUExecutionProvider"


@given(st.sampled_from(SCENARIOS), st.data())
def test_one_forgotten_or_swapped_letter_still_finds_the_name(name, data):
    place = data.draw(st.integers(0, len(name) - 2))
    assert nearest_name(name[:place] + name[place + 1 :], SCENARIOS) == name
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    assert nearest_name(swapped, SCENARIOS) == name


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_the_nearest_name_is_a_known_one_for_any_text(typed, known):
    assert nearest_name(typed, known) in {*known, None}


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_the_message_about_an_unknown_name_is_one_line_that_quotes_it(name, known):
    message = str(UnknownNameError("task", name, [word for word in known if word.isprintable()]))
    assert repr(name) in message
    assert len(message.splitlines()) == 1
