from __future__ import annotations

import socket
from importlib.metadata import PackageNotFoundError

import pytest

from gnomon.core.errors import MissingExtraError, SettingsError, SystemFault
from gnomon.systems.flower import launch
from gnomon.systems.flower.launch import Launch, Place
from gnomon.systems.flower.ports import free_ports, require_free
from gnomon.systems.flower.work import Work


@pytest.fixture
def federation(tmp_path) -> Launch:
    (tmp_path / "scratch").mkdir()
    return Launch(tmp_path, tmp_path / "scratch", Work("a:b", "{}"), "c:d", [Place()])


def test_without_flower_the_extra_to_install_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(launch, "version", missing)
    with pytest.raises(MissingExtraError, match=r"needs flwr: pip install 'gnomon\[fed\]'"):
        launch.require_flower()


def test_a_flower_that_speaks_another_protocol_is_refused(monkeypatch):
    monkeypatch.setattr(launch, "version", lambda name: "1.41.0")
    with pytest.raises(SettingsError, match=r"flwr 1\.41\.0 .* 1\.42"):
        launch.require_flower()


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 cannot be used"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


def test_free_ports_are_all_different():
    assert len(set(free_ports("127.0.0.1", 50))) == 50


def test_a_node_that_ends_is_noted_with_how_it_ended(federation):
    federation._ended("client-7", -9)
    assert (federation.gone_folder / "7").read_text() == "its process was killed by signal 9"


def test_a_superlink_that_ends_is_a_fault_with_its_last_words(federation):
    (federation.folder / "superlink.log").write_text("1\n2\n\n3\nno space left on device\n")
    with pytest.raises(SystemFault, match=r"superlink ended with code 1: 2 \| 3 \| no space left"):
        federation._ended("superlink", 1)


def test_a_run_command_that_did_its_work_is_no_fault(federation):
    federation._ended("run-1", 0)
    with pytest.raises(SystemFault, match="it said nothing"):
        federation._ended("run-2", 1)


def test_the_app_names_its_components_and_where_the_server_answers(federation):
    text = (federation._app() / "pyproject.toml").read_text()
    assert 'clientapp = "c:d"' in text
    assert f'gnomon-handover = "{federation.scratch}/server"' in text
    assert "dependencies = []" in text


def test_the_last_words_of_a_log_are_shown_without_boxes_and_colours(federation):
    (federation.folder / "run-1.log").write_text(
        "\x1b[91mERROR \x1b[0m: first\n╭─ Error ──╮\n│ no such app │\n╰──────────╯\n"
    )
    assert federation.tail("run-1").startswith("ERROR : first | Error | no such app (")
