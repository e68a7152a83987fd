"""Parts by name, from the entry points of real packages laid out on the path as installers do."""

import sys
import textwrap

import pytest

from gnomon.core.errors import GnomonError, MissingExtraError, UnknownNameError
from gnomon.core.registry import BENCHMARKS, PROTOCOLS, SYSTEMS, TASKS, Registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package on the path: `install("name", {"part": "module:Object"}, code)`."""
    known = set(sys.modules)

    def install(package, parts, code="", group="gnomon.systems", folder=tmp_path):
        module = package.replace("-", "_")
        folder.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        lines = "\n".join(f"{name} = {target}" for name, target in parts.items())
        (information / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        if str(folder) not in sys.path:
            monkeypatch.syspath_prepend(str(folder))

    yield install
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def systems():
    """A registry that has not looked yet."""
    return Registry("system")


GOOD = """
class Good:
    name = "good"
"""


def test_a_part_of_another_package_is_found_beside_the_built_in_ones(install):
    install("plug-good", {"good": "plug_good:Good"}, GOOD)
    registry = systems()
    assert {"good", "null", "onnx"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())
    assert {entry.name: entry.origin for entry in registry}["good"] == "plug-good"
    assert {entry.name: entry.origin for entry in registry}["null"] == "gnomon"
    assert registry.load("good").name == "good"
    assert "good" in registry
    assert "goood" not in registry


def test_each_kind_has_a_group_of_its_own(install):
    install("plug-task", {"good": "plug_task:Good"}, GOOD, group="gnomon.tasks")
    assert "good" in Registry("task")
    assert "good" not in systems()


def test_listing_names_imports_none_of_them(install):
    install("plug-lazy", {"lazy": "plug_lazy:Good"}, GOOD)
    registry = systems()
    assert "lazy" in registry.names()
    assert [entry.origin for entry in registry if entry.name == "lazy"] == ["plug-lazy"]
    assert "plug_lazy" not in sys.modules
    registry.load("lazy")
    assert "plug_lazy" in sys.modules


@pytest.mark.parametrize(
    ("registry", "typed", "words"),
    [
        (BENCHMARKS, "digts", "unknown benchmark 'digts': did you mean 'digits'?"),
        (TASKS, "Digits", "unknown task 'Digits': did you mean 'digits'?"),
        (SYSTEMS, "onx", "unknown system 'onx': did you mean 'onnx'?"),
        (PROTOCOLS, "laod", "unknown protocol 'laod': did you mean 'load'?"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_an_unknown_name_offers_the_nearest(registry, typed, words):
    with pytest.raises(UnknownNameError) as error:
        registry.load(typed)
    assert str(error.value) == words


def test_a_name_like_no_other_is_answered_with_all_there_are(install):
    install("plug-good", {"good": "plug_good:Good"}, GOOD)
    with pytest.raises(UnknownNameError, match=r"known: .*good, .*null, .*onnx"):
        systems().load("zzz")


def test_an_unknown_name_may_be_that_of_a_plug_in(install):
    install("plug-good", {"goodness": "plug_good:Good"}, GOOD)
    with pytest.raises(UnknownNameError, match="did you mean 'goodness'"):
        systems().load("godness")


def test_a_kind_of_which_there_is_nothing_says_so():
    with pytest.raises(UnknownNameError, match="unknown weather 'rain': none is registered"):
        Registry("weather").load("rain")


def test_a_name_that_two_packages_register_is_refused_with_both_named(install):
    install("plug-one", {"twin": "plug_one:Good"}, GOOD)
    install("plug-two", {"twin": "plug_two:Good"}, GOOD)
    with pytest.raises(GnomonError, match="system 'twin' is registered by both plug-") as error:
        systems().load("twin")
    assert {"plug-one", "plug-two"} <= set(str(error.value).replace(":", "").split())
    assert "uninstall one of them" in str(error.value)


def test_a_built_in_name_cannot_be_taken_over(install):
    install("plug-thief", {"null": "plug_thief:Good"}, GOOD)
    with pytest.raises(GnomonError, match="system 'null' is registered by both"):
        systems().load("null")


def test_a_package_that_lies_twice_on_the_path_is_one(install, tmp_path):
    for copy in ("one", "two"):
        install("plug-copy", {"copied": "plug_copy:Good"}, GOOD, folder=tmp_path / copy)
    assert systems().names().count("copied") == 1
    assert systems().load("copied").name == "good"


BROKEN = {
    "a missing package": ("import a_package_that_is_not_there", "ModuleNotFoundError: No module"),
    "a mistake in its text": ("def (", "SyntaxError"),
    "an error of its own": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "nothing of that name": ("", "AttributeError: module 'plug_broken' has no attribute 'Part'"),
    "a call of exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "a message of two lines": ("raise ImportError('one\\ntwo')", "ImportError: one two"),
}


@pytest.mark.parametrize(("code", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plug_in_hurts_only_whoever_asks_for_it(install, code, words):
    install("plug-broken", {"broken": "plug_broken:Part"}, code)
    registry = systems()
    assert "broken" in registry.names()
    assert registry.load("null").name == "null"
    with pytest.raises(GnomonError) as error:
        registry.load("broken")
    told = str(error.value)
    assert told.startswith("system 'broken' from package plug-broken cannot be loaded: ")
    assert words in told
    assert len(told.splitlines()) == 1


def test_a_module_that_is_not_there_is_told_with_its_package(install):
    install("plug-moved", {"moved": "plug_elsewhere:Part"})
    with pytest.raises(GnomonError, match="from package plug-moved cannot be loaded: ModuleNot"):
        systems().load("moved")


def test_an_error_of_the_family_comes_through_as_it_is(install):
    install(
        "plug-extra",
        {"extra": "plug_extra:Part"},
        """
        from gnomon import MissingExtraError

        raise MissingExtraError("torch", "models", "plug-extra")
        """,
    )
    with pytest.raises(MissingExtraError, match="plug-extra needs torch: pip install"):
        systems().load("extra")
