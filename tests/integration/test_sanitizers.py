"""The kernels under the address and undefined-behaviour sanitizers: built anew, and tested as ever."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ("embedding/test_kernels.py", "embedding/test_functional.py", "fleet/test_logistic.py")
# Stands in for the installed kernels before anything imports them.
RUN = """
import importlib.util
import sys

embedding, fleet, *tests = sys.argv[1:]
for name, path in {"gnomon.embedding._native": embedding, "gnomon.fleet._native": fleet}.items():
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

import pytest
from gnomon.embedding import functional
from gnomon.fleet import softmax_sgd

assert functional._native.__file__ == embedding
assert softmax_sgd._native.__file__ == fleet
chosen = "not many_threads and not forked and not torch and not bfloat16_rounds"
sys.exit(pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", "-k", chosen, *tests]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kernels_are_clean_under_the_sanitizers(tmp_path):
    pytest.importorskip("nanobind")
    compiler, cmake = shutil.which("g++"), shutil.which("cmake")
    if compiler is None or cmake is None:
        pytest.skip("no g++ or no cmake")

    def run(*command, **environment):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    nanobind = run(sys.executable, "-m", "nanobind", "--cmake_dir").strip()
    run(
        cmake,
        "-S",
        str(ROOT / "native"),
        "-B",
        str(tmp_path),
        f"-Dnanobind_DIR={nanobind}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DGNOMON_SANITIZE=ON",
    )
    run(cmake, "--build", str(tmp_path), "--parallel", "2")
    built = [next((tmp_path / name).glob("_native*.so")) for name in ("embedding", "fleet")]
    libraries = [
        run(compiler, f"-print-file-name={name}").strip() for name in ("libasan.so", "libubsan.so")
    ]
    told = run(
        sys.executable,
        "-c",
        RUN,
        *map(str, built),
        *(str(ROOT / "tests" / name) for name in TESTS),
        LD_PRELOAD=" ".join(libraries),
        ASAN_OPTIONS="detect_leaks=0",  # the interpreter's own
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
    )
    assert "passed" in told


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_sanitizers_would_tell(tmp_path):
    """A read past the end of an array, which the checks in front of the kernels refuse, is reported."""
    pytest.importorskip("nanobind")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    program = tmp_path / "past.cpp"
    program.write_text(
        '#include "line.hpp"\n#include <vector>\n'
        "int main() { std::vector<float> a(15);"
        " return gnomon::portable::Line::load(a.data()).sum() > 1; }\n"
    )
    subprocess.run(
        [
            compiler,
            "-DGNOMON_ISA=portable",
            f"-I{ROOT / 'native'}",
            "-fsanitize=address",
            "-O1",
            str(program),
            "-o",
            str(tmp_path / "past"),
        ],
        check=True,
    )
    done = subprocess.run([tmp_path / "past"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
