"""The public API: the list equals what can be imported, importing it stays light, all of it explained."""

import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import gnomon

NAMES = sorted(set(gnomon.__all__) - {"__version__"})
HEAVY = ("onnxruntime", "pyarrow", "scipy", "plotly", "pandas", "torch", "sklearn")
PARTS = [value for name in NAMES if inspect.isclass(value := getattr(gnomon, name))]


def loaded_after(program):
    """Which heavy packages a program has imported by its end, in a process of its own."""
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}\nimport json, sys\nprint(json.dumps(list(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {name.split(".")[0] for name in json.loads(finished.stdout)}
    return modules & set(HEAVY)


def test_the_public_list_is_sorted_and_names_everything_once():
    assert gnomon.__all__ == sorted(set(gnomon.__all__), key=gnomon.__all__.index)
    assert sorted(gnomon.__all__) == gnomon.__dir__() == dir(gnomon)


def test_the_public_list_is_what_has_a_home():
    assert set(gnomon._HOMES) == set(NAMES)


def test_type_checkers_are_shown_the_same_names_from_the_same_homes():
    text = Path(gnomon.__file__).read_text(encoding="utf-8")
    block = text.split("if TYPE_CHECKING:")[1].split("\n\n")[0]
    shown = {}
    for home, names in re.findall(r"from (\S+) import (\([^)]*\)|[^\n]+)", block):
        shown |= dict.fromkeys(re.findall(r"\w+", names), home)
    assert shown == gnomon._HOMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_can_be_imported_and_is_defined_where_it_lives(name):
    value = getattr(gnomon, name)
    assert value.__module__ == gnomon._HOMES[name]
    assert value.__name__ == name


@pytest.mark.parametrize("name", NAMES)
def test_a_public_class_or_function_says_what_it_is(name):
    words = inspect.getdoc(getattr(gnomon, name))
    assert words
    assert words.splitlines()[0].endswith((".", "?"))


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_every_public_method_says_what_it_does_and_is_typed(kind):
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        function = getattr(function, "__func__", function)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        assert inspect.getdoc(function), f"{kind.__name__}.{name}"
        assert "return" in typing.get_type_hints(function), f"{kind.__name__}.{name}"


def test_everything_can_be_had_with_a_star():
    space = {}
    exec("from gnomon import *", space)
    assert {name for name in space if name != "__builtins__"} == set(gnomon.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gnomon' has no attribute 'runn'"):
        _ = gnomon.runn
    assert not hasattr(gnomon, "numpy")


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gnomon.__version__)


@pytest.mark.parametrize(
    "program",
    [
        "import gnomon; assert gnomon.__version__ and dir(gnomon)",
        "from gnomon.core import registry as parts\n"
        "kinds = (parts.BENCHMARKS, parts.TASKS, parts.SYSTEMS, parts.PROTOCOLS)\n"
        "assert all(kind.names() and [entry.origin for entry in kind] for kind in kinds)",
    ],
    ids=["importing gnomon", "listing what is registered"],
)
def test_nothing_heavy_is_imported_before_it_is_asked_for(program):
    assert loaded_after(program) == set()


def test_declaring_a_benchmark_a_task_and_a_system_imports_no_runtime():
    program = (
        "from gnomon import Benchmark, DataSource, QualityTarget, Task\n"
        "from gnomon import AsynchronousSystem, SynchronousSystem, GnomonError"
    )
    assert loaded_after(program) == set()
