"""Images: what is in them adds up, they start on every board, and what cannot be built is refused."""

from __future__ import annotations

import re
import subprocess

import pytest

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.firmware import build as building
from gnomon.firmware.build import (
    DSP_KERNELS,
    TARGETS,
    BuildError,
    MissingToolError,
    build,
    compile_image,
)
from gnomon.firmware.emit import emit, wire_of
from tests.firmware import cases
from tests.firmware.compiled import (
    TEST_SOURCES,
    needs_compiler,
    needs_emulator,
    talk_to_board,
)
from tests.firmware.models import write_model

GRAPH = cases.networks()["separable"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "kws01.tflite"
    path.write_bytes(write_model(GRAPH))
    return path


@needs_compiler
@pytest.mark.parametrize("kernels", ["plain", "auto"])
def test_what_an_image_takes_adds_up(model, kernels, tmp_path):
    image = build(model, "mps2-an386", tmp_path / "image", kernels=kernels)
    optimised = kernels == "auto" and DSP_KERNELS.exists()
    assert image.kernels == ("dsp" if optimised else "plain")
    assert image.flash_bytes == image.weights_bytes + image.code_bytes
    assert image.ram_bytes == image.data_bytes + image.bss_bytes
    assert [(each.index, each.name) for each in image.layers] == [
        *((0, "conv"), (1, "depthwise"), (2, "conv"), (3, "depthwise"), (4, "conv")),
        *((5, "max_pool"), (7, "dense"), (8, "softmax")),
    ]
    assert image.macs == sum(GRAPH.macs(operator) for operator in GRAPH.operators)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-S", image.elf], capture_output=True, text=True, check=True
    ).stdout
    sizes = {name: int(size, 16) for size, name in re.findall(r"\w+ (\w+) \w (\S+)", listed)}
    assert image.arena_bytes <= sizes["arena"] < image.ram_bytes < sizes["arena"] + 512
    tables = sum(
        size
        for name, size in sizes.items()
        if re.match(r"(weights|bias|folded|multiplier|shift)_", name)
    )
    assert tables == image.weights_bytes < image.flash_bytes


@needs_emulator
@pytest.mark.parametrize("board", TARGETS)
def test_an_image_starts_on_each_board_and_says_what_it_is(model, board, tmp_path):
    image = build(model, board, tmp_path / "image", model_id='a "model" of mine')
    talk = talk_to_board(image.elf, board, tmp_path / "qemu.log")
    said = talk.ask("name") + talk.ask("profile")
    talk.close()
    assert said[0] == f"m-name-dut-[{board}]"
    assert said[2] == "m-model-[a _model_ of mine]"


@needs_emulator
def test_an_image_for_energy_pulses_a_pin_instead_of_telling_the_time(model, tmp_path):
    image = build(model, "mps2-an386", tmp_path / "image", energy=True, vendor="Acme 3")
    talk = talk_to_board(image.elf, "mps2-an386", tmp_path / "qemu.log", boot=False)
    boot = talk.until()
    said = talk.ask("name"), talk.ask("timestamp")
    talk.close()
    assert boot == "m-timestamp-mode-energy\r\nm-init-done\r\n"
    assert said == (["m-name-dut-[Acme 3]"], [])


@pytest.mark.parametrize(
    ("model_id", "wire"),
    [
        *(("kws01", "int8"), ("sww01", "int8"), ("strww01", "int8"), ("mine", "int8")),
        *(("vww01", "uint8"), ("ic01", "uint8"), ("ic02", "uint8"), ("ad01", "float")),
    ],
)
def test_each_benchmark_has_its_input_on_the_wire(model_id, wire):
    assert wire_of(model_id) == wire


def test_a_classifier_cannot_be_judged_by_how_well_it_gives_its_input_back():
    with pytest.raises(DataError, match="they are 5 and 66 values: use another model id"):
        emit(GRAPH, "ad01")


@needs_compiler
def test_what_cannot_be_built_is_refused(model, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'mps2-an386'"):
        build(model, "mps2-an38", tmp_path)
    with pytest.raises(UnknownNameError, match="unknown kernels 'fast'"):
        build(model, "mps2-an386", tmp_path, kernels="fast")
    with pytest.raises(SettingsError, match="Cortex-M3 without DSP instructions"):
        build(model, "mps2-an385", tmp_path, kernels="dsp")


@pytest.mark.parametrize("memory", ["FLASH_BYTES", "RAM_BYTES"])
def test_a_model_that_is_too_large_is_refused_before_anything_is_compiled(
    memory, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(building, memory, 500)
    with pytest.raises(DataError, match="too large for mps2-an386"):
        build(model, "mps2-an386", tmp_path / "image")
    assert not (tmp_path / "image").exists()


def test_a_missing_compiler_is_said_with_its_packages(model, tmp_path, monkeypatch):
    monkeypatch.setattr(building.shutil, "which", lambda _: None)
    with pytest.raises(MissingToolError, match="apt-get install gcc-arm-none-eabi libnewlib"):
        build(model, "mps2-an385", tmp_path / "image")


@needs_compiler
def test_what_the_compiler_refuses_is_said_in_its_words(tmp_path):
    (tmp_path / "wrong.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BuildError, match=r"did not make .*elf: .*error: .*nothing.* undeclared"):
        compile_image([tmp_path / "wrong.c"], TARGETS["mps2-an385"], tmp_path / "elf")


@needs_compiler
def test_the_example_of_a_port_compiles_and_links_with_the_rest(tmp_path):
    """Its vendor's library is a header of stubs here."""
    names = ("kernels_plain", "softmax", "protocol", "startup", "port_example")
    sources = [building.C_SOURCES / f"{name}.c" for name in names]
    (tmp_path / "model.c").write_text(emit(GRAPH, "kws01").code)
    sources += [tmp_path / "model.c", TEST_SOURCES / "stub_hal" / "stub_hal.c"]
    flags = ("-Wall", "-Wextra", "-Werror", f"-I{TEST_SOURCES / 'stub_hal'}")
    compile_image(sources, TARGETS["mps2-an386"], tmp_path / "elf", defines=flags)
    assert (tmp_path / "elf").stat().st_size > 0
