"""The optimised kernels in QEMU: byte for byte the reference, within their memory, fast for the reason given.

`kernels/shapes.c` puts layers of random shape through them in one image, against a reference in 64 bits.
"""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gnomon.firmware import arrange
from gnomon.firmware.build import C_SOURCES, COMPILER, TARGETS, compile_image
from gnomon.firmware.emulate import EMULATOR

BOARD = TARGETS["mps2-an386"]
SOURCES = Path(__file__).parent / "kernels"
DSP = C_SOURCES / "kernels_dsp.c"
CASES = 600
DENSE_CASES = 40
RUN_S = 100

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None,
    reason=f"{COMPILER} or {EMULATOR} is not installed",
)


def build(elf, *sources, flags=()):
    compile_image(
        [*sources],
        BOARD,
        elf,
        defines=("-Wall", "-Wextra", "-Werror", f"-I{SOURCES}", f"-I{elf.parent}", *flags),
    )
    return elf


def run(elf):
    """What an image says by semihosting, as lists of words."""
    done = subprocess.run(
        [
            *(EMULATOR, "-M", BOARD.name, "-kernel", elf, "-icount", "shift=3"),
            *("-display", "none", "-monitor", "none", "-serial", "null"),
            *("-semihosting-config", "enable=on,target=native"),
        ],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    return [line.split() for line in (done.stdout + done.stderr).splitlines()]


def table(name, kind, values):
    return f"static const {kind} {name}[] = {{{','.join(map(str, values.ravel().tolist()))}}};\n"


def write_dense_cases(header):
    """Dense layers of random shape as a C header: weights as in a model, and as arranged for the kernel."""
    draw = np.random.default_rng(7)
    text = [
        "typedef struct { int32_t in, out, in_offset, arranged_size; const int8_t *weights, *arranged;"
        " const int32_t *bias, *folded; } dense_case;\n"
    ]
    rows = []
    for case in range(DENSE_CASES):
        inputs, outputs = (int(size) for size in draw.integers(1, [140, 40]))
        weights = draw.integers(-128, 128, (outputs, inputs)).astype(np.int8)
        if case % 5 == 0:
            weights = np.where(weights > 0, 127, -128).astype(np.int8)
        bias = draw.integers(-20000, 20000, outputs).astype(np.int32)
        offset = int(draw.integers(-127, 129))
        arranged = arrange.dense_weights(weights)
        text += [
            table(f"weights_{case}", "int8_t", weights),
            table(f"arranged_{case}", "int8_t", arranged),
            table(f"bias_{case}", "int32_t", bias),
            table(f"folded_{case}", "int32_t", arrange.dense_folded(weights, bias, offset)),
        ]
        names = ", ".join(f"{name}_{case}" for name in ("weights", "arranged", "bias", "folded"))
        rows.append(f"{{{inputs}, {outputs}, {offset}, {arranged.size}, {names}}}")
    text.append(f"static const dense_case dense_cases[] = {{{', '.join(rows)}}};\n")
    header.write_text("".join(text))


@pytest.fixture(scope="module")
def said_of_shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_dense_cases(folder / "dense_cases.h")
    elf = folder / "shapes.elf"
    return run(build(elf, SOURCES / "shapes.c", DSP, flags=(f"-DCASES={CASES}",)))


@pytest.fixture(scope="module")
def counts_image(tmp_path_factory):
    sources = (SOURCES / "counts.c", SOURCES / "plain_renamed.c", DSP)
    return build(tmp_path_factory.mktemp("counts") / "counts.elf", *sources)


@pytest.fixture(scope="module")
def said_of_counts(counts_image):
    return run(counts_image)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense", "average", "add"])
def test_every_byte_of_layers_of_random_shape_is_the_references(said_of_shapes, kind):
    cases = DENSE_CASES if kind == "dense" else CASES
    assert [kind, str(cases), "0"] in said_of_shapes, said_of_shapes


@pytest.mark.parametrize("edge", ["FIRST_EDGE", "SECOND_EDGE"])
def test_a_read_behind_a_tensor_would_have_stopped_the_board(tmp_path, edge):
    said = run(build(tmp_path / "edges.elf", SOURCES / "edges.c", flags=(f"-DEDGE={edge}",)))
    assert [words[0] for words in said] == ["inside", "fault"]


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("window", 0.17),
        ("colours", 0.17),
        ("pointwise", 0.14),
        ("depthwise", 0.14),
        ("strided", 0.22),
        ("dense", 0.18),
        ("average", 0.3),
        ("add", 0.25),
    ],
)
def test_a_layer_takes_a_small_share_of_the_plain_kernels_instructions(said_of_counts, kind, share):
    plain, optimised = next(
        (int(p), int(o))
        for name, p, o in (words for words in said_of_counts if len(words) == 3)
        if name == kind
    )
    assert 0 < optimised <= share * plain


def test_scratch_memory_is_as_large_as_the_planner_thinks(said_of_counts):
    told = [[int(word) for word in words[1:]] for words in said_of_counts if words[0] == "scratch"]
    assert len(told) > 20
    for size, conv, depthwise, dense in told:
        assert arrange.conv_scratch_bytes(size) == conv
        assert arrange.depthwise_scratch_bytes((3, 3), size - 2, 1) == depthwise
        assert arrange.dense_scratch_bytes(size) == dense
    assert arrange.depthwise_scratch_bytes((3, 3), 3, 2) == arrange.depthwise_scratch_bytes(
        (3, 3), 5, 1
    )
    assert arrange.depthwise_scratch_bytes((5, 1), 28, 1) == 0


@pytest.mark.parametrize(
    ("kernel", "multiplied", "loads"),
    [
        # Two channels by two pixels by four inputs: 16 products in 8 instructions and two loads.
        ("dsp_run_tiles", {"smlad": 8 * 8}, {"ldmia.w": 2 * 8}),
        # Four rows by eight inputs: 32 products in 16 instructions and three loads.
        ("dsp_run_rows", {"smlad": 4 * 16}, {"ldmia.w": 3 * 4}),
        # Two rows of a 3x3 window: 18 products in 12 instructions and three loads.
        ("dsp_filter_two_rows", {"smlad": 6, "smlatb": 3, "smlabt": 3}, {"ldrd": 3}),
    ],
)
def test_inner_loops_multiply_pairs_with_few_loads(counts_image, kernel, multiplied, loads):
    objdump = COMPILER.replace("gcc", "objdump")
    done = subprocess.run(
        [objdump, "-d", f"--disassemble={kernel}", counts_image],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"^ *[0-9a-f]+:\t[0-9a-f ]+\t([a-z0-9.]+)", done.stdout, re.MULTILINE)
    for mnemonic, count in multiplied.items():
        assert found.count(mnemonic) == count
    for mnemonic, count in loads.items():
        # Beside the inner loop's there are those of what goes before and after.
        assert count <= found.count(mnemonic) <= count + 4


@given(
    arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 19))),
    st.integers(-127, 128),
    st.data(),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_sums_of_packed_words_are_the_dense_layers(weights, in_offset, data):
    """The identity at the head of `kernels_dsp_dense.h`, on what `arrange` makes of the weights."""
    rows, count = weights.shape
    inputs = data.draw(arrays(np.int8, count)).astype(np.int64)
    bias = np.arange(rows, dtype=np.int32) * 1000
    arranged, folded = (
        arrange.dense_weights(weights),
        arrange.dense_folded(weights, bias, in_offset),
    )
    assert arranged.size == (-(-rows // 4) * 4) * (-(-count // 8) * 8)
    assert folded.size == -(-rows // 4) * 4

    padded = np.pad(inputs, (0, -count % 8))
    n, y = -1 - padded[::2], 256 * padded[::2] + padded[1::2] + 128
    assert np.abs(y).max() <= 32768
    assert y.max() < 32768
    blocks = arranged.reshape(-1, padded.size // 8, 4, 8).swapaxes(1, 2).reshape(-1, padded.size)
    halves = np.ascontiguousarray(blocks).view("<i2").astype(np.int64)
    sums = halves @ n + blocks[:, 1::2].astype(np.int64) @ y + folded - 127 * n.sum()
    assert (
        sums[:rows].tolist() == ((inputs + in_offset) @ weights.T.astype(np.int64) + bias).tolist()
    )
