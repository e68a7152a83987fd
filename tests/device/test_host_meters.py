from __future__ import annotations

import sys
import time
import types

import pytest

from gnomon.core.energy import energy_between
from gnomon.core.errors import MissingExtraError, SettingsError, SystemFault, UnknownNameError
from gnomon.device.host_meters import HostMeter, RaplDomain, nvml_meter, rapl_meter
from gnomon.device.monitors import MONITORS, make_monitor


@pytest.fixture
def powercap(tmp_path):
    """A tree as the kernel shows it: two packages, memory of one, a core and the whole platform."""
    for folder, name, uj in [
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 5_000_000),
        ("intel-rapl:0:1", "dram", 2_000_000),
        ("intel-rapl:1", "package-1", 4_000_000),
        ("intel-rapl:2", "psys", 9_000_000),
    ]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text(f"{uj}\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("10000000\n")
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def advance(powercap, folder, uj):
    file = powercap / folder / "energy_uj"
    range_uj = int((powercap / folder / "max_energy_range_uj").read_text())
    after = file.with_suffix(".after")  # the kernel's files never read half written
    after.write_text(f"{(int(file.read_text()) + uj) % range_uj}\n")
    after.replace(file)


def test_packages_and_memories_are_added_up_and_parts_of_them_are_not_counted_twice(powercap):
    meter = rapl_meter(powercap, read_every_s=10)
    assert meter.describe()["domains"] == ["package-0", "dram", "package-1"]
    meter.start()
    for folder, uj in [
        ("intel-rapl:0", 100),
        ("intel-rapl:0:0", 90),
        ("intel-rapl:0:1", 30),
        ("intel-rapl:1", 7),
    ]:
        advance(powercap, folder, uj)
    advance(powercap, "intel-rapl:2", 500)
    meter.stop()
    meter.stop()
    assert meter.samples().energy_j == pytest.approx([137e-6])
    assert meter.timestamps() == ()


def test_a_counter_that_begins_again_at_zero_goes_on_counting(powercap):
    domain = RaplDomain("package-0", powercap / "intel-rapl:0" / "energy_uj", 10_000_000)
    first = domain.joules()
    for _ in range(7):
        advance(powercap, "intel-rapl:0", 9_000_000)
        last = domain.joules()
    assert last - first == pytest.approx(63)


def test_a_window_marked_by_the_hosts_clock_has_the_energy_of_its_time(powercap):
    meter = rapl_meter(powercap, read_every_s=0.005)
    meter.start()
    start_s = time.monotonic()
    time.sleep(
        0.1
    )  # so that the readings around the marks, however late, have no part of the energy
    for _ in range(20):
        time.sleep(0.005)
        advance(powercap, "intel-rapl:0", 50_000)
    time.sleep(0.1)
    end_s = time.monotonic()
    meter.stop()
    samples = meter.samples()
    assert len(samples) > 10
    assert samples.energy_j.sum() == pytest.approx(1.0)
    assert energy_between(samples, start_s, end_s, "split") == pytest.approx(1.0, abs=0.06)
    assert samples.start_s <= start_s < end_s <= samples.end_s


def test_counters_that_only_root_may_read_say_how_to_open_them(powercap, monkeypatch):
    file = powercap / "intel-rapl:0" / "energy_uj"
    read = type(file).read_text

    def refuse(path, *arguments, **named):
        if path == file:
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **named)

    monkeypatch.setattr(type(file), "read_text", refuse)
    with pytest.raises(SystemFault, match=r"may only be read by root: sudo chmod a\+r"):
        rapl_meter(powercap)


def test_a_computer_without_counters_says_so(tmp_path):
    with pytest.raises(SystemFault, match="no energy counter of its processors"):
        rapl_meter(tmp_path)


def test_a_counter_that_disappears_while_it_is_recorded_is_reported(powercap):
    meter = rapl_meter(powercap, read_every_s=0.005)
    meter.start()
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    time.sleep(0.05)
    with pytest.raises(SystemFault, match="cannot read"):
        meter.stop()


class NVMLError(Exception):
    def __init__(self, value):
        super().__init__(f"error {value}")
        self.value = value


@pytest.fixture
def gpu(monkeypatch):
    """A module of the interface of `pynvml`, with one GPU of 250 W."""
    started_s = time.monotonic()
    module = types.ModuleType("pynvml")
    module.NVMLError, module.NVML_ERROR_NOT_SUPPORTED = NVMLError, 3
    module.counts, module.failure, module.open = True, None, 0

    def initialise(change):
        module.open += change

    def handle(index):
        if index:
            raise NVMLError(2)
        return "gpu 0"

    def total_mj(of):
        assert of == "gpu 0"
        if not module.counts:
            raise NVMLError(3)
        return int(250_000 * (time.monotonic() - started_s))

    def power_mw(of):
        assert of == "gpu 0"
        if module.failure:
            raise module.failure
        return 250_000

    module.nvmlInit = lambda: initialise(1)
    module.nvmlShutdown = lambda: initialise(-1)
    module.nvmlDeviceGetHandleByIndex = handle
    module.nvmlDeviceGetName = lambda of: b"Test GPU"
    module.nvmlSystemGetDriverVersion = lambda: "550.1"
    module.nvmlDeviceGetTotalEnergyConsumption = total_mj
    module.nvmlDeviceGetPowerUsage = power_mw
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


@pytest.mark.parametrize("counts", [True, False])
def test_a_gpu_is_measured_by_its_counter_or_by_its_power(gpu, counts):
    gpu.counts = counts
    meter = nvml_meter(read_every_s=0.01)
    meter.start()
    time.sleep(0.5)
    meter.stop()
    samples = meter.samples()
    watts = samples.energy_j.sum() / (samples.end_s - samples.start_s)
    assert watts == pytest.approx(250, rel=0.1)
    assert meter.describe()["gpu"] == "Test GPU"
    assert ("counter" in meter.describe()["instrument"]) == counts
    assert gpu.open == 0


def test_a_gpu_that_is_not_there_is_one_clear_line(gpu):
    with pytest.raises(SystemFault, match="GPU 3: NVML says error 2; does `nvidia-smi` show it"):
        nvml_meter(3)
    assert gpu.open == 0


def test_a_gpu_that_fails_while_it_is_recorded_is_reported(gpu):
    gpu.counts = False
    meter = nvml_meter(read_every_s=0.005)
    meter.start()
    gpu.failure = NVMLError(15)
    time.sleep(0.03)
    with pytest.raises(SystemFault, match="the monitor nvml broke off: NVMLError: error 15"):
        meter.stop()


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MissingExtraError, match=r"nvidia-ml-py: pip install 'gnomon\[energy\]'"):
        nvml_meter()


def test_monitors_are_made_by_name(gpu):
    assert isinstance(make_monitor("nvml"), HostMeter)
    assert set(MONITORS) == {"lpm01a", "joulescope", "rapl", "nvml"}
    with pytest.raises(UnknownNameError, match="did you mean 'nvml'"):
        make_monitor("nvlm")
    with pytest.raises(SettingsError, match="a GPU's index, got 'first'"):
        make_monitor("nvml", "first")
    with pytest.raises(SettingsError, match="needs the serial port"):
        make_monitor("lpm01a")
