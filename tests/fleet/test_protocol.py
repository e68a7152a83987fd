"""Whole runs of the fleet protocol: what they leave behind, how they go on, what tampering comes to."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gnomon
from gnomon.core.errors import DataError, GnomonWarning, SettingsError, UsageError
from gnomon.core.run import Run
from gnomon.fleet.assembly import Blueprint
from gnomon.fleet.grid_file import Grid, GridPoint, write_grid
from gnomon.fleet.record import CLIENTS_FILE, PARAMETERS_FILE, ROUNDS_FILE
from gnomon.fleet.simulated import simulate
from gnomon.fleet.system import FleetSystem
from gnomon.results.check import check
from tests.fleet.small_run import FEW, run_few

FILES = (ROUNDS_FILE, CLIENTS_FILE, PARAMETERS_FILE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, not to be changed."""
    return run_few(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be tampered with."""
    return Run.open(shutil.copytree(finished.path, tmp_path / finished.path.name))


def arrays_of(run):
    samples = run.samples["federation"]
    return samples.rounds.tobytes(), samples.clients.tobytes()


def parameters_of(run):
    with np.load(run.path / "federation" / PARAMETERS_FILE) as stored:
        return stored["parameters"].tobytes()


def test_a_run_reaches_its_target_and_leaves_its_record(finished):
    assert finished.status == "complete"
    assert finished.verdict.valid, finished.verdict.failures
    result = finished.result["federation"]
    assert result["metric"]["name"] == "cost to target"
    assert result["loss"] <= 0.9
    assert result["to_target"]["rounds"] == result["rounds"]
    assert (result["clients_per_round"], result["local_iterations"]) == (5, 4)
    folder = finished.path / "federation"
    assert {path.name for path in folder.iterdir()} == {*FILES, "devices.csv"}
    assert json.loads((finished.path / "run.json").read_text(encoding="utf-8"))["rules"] == "quick"


def test_a_run_checks_out_and_recomputes_to_the_same_figures(finished):
    again = check(finished.path)
    assert again.fine, (again.disagreements, again.verdict.failures)
    assert again.results == finished.result


def test_the_samples_of_a_run_are_its_rounds_clients_and_devices(finished):
    samples = finished.samples["federation"]
    assert len(samples.rounds) == finished.result["federation"]["rounds"]
    assert len(samples.devices) == 10
    assert samples.ledger.disagreements() == []
    assert samples.rounds["duration_s"].sum() == finished.result["federation"]["duration_s"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finished, tmp_path):
    again, other = run_few(tmp_path), run_few(tmp_path, seed=1)
    assert arrays_of(again) == arrays_of(finished) != arrays_of(other)
    assert parameters_of(again) == parameters_of(finished) != parameters_of(other)
    assert again.result == finished.result


def test_the_systems_options_and_departures_are_on_record(tmp_path):
    run = run_few(tmp_path, gamma=0.25, clients=8, dropout=0.1)
    stored = run.measurements["federation"]
    assert run.record["options"] == {"gamma": 0.25, "clients": 8, "dropout": 0.1}
    assert stored["settings"]["settings"]["gamma"] == 0.25
    assert stored["settings"]["behaviour"]["dropout"] == 0.1
    assert stored["virtual_clock"] is True
    assert "other than declared (clients 8 instead of 10; dropout 0.1)" in run.verdict.remark
    assert check(run.path).fine


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "weighted", "availability": 0.6, "availability_block_s": 20.0},
        {"over_selection": 1.6, "dropout": 0.2, "slowdown_sigma": 0.4},
        {"deadline_s": 3.0, "evaluate_every": 3},
        {"target_loss": 0.5, "max_energy_j": 3.0},
        {"devices": "lognormal", "data_seed": 3, "seed": 4},
    ],
    ids=lambda options: " ".join(options),
)
def test_runs_with_faults_and_limits_agree_with_themselves(tmp_path, options):
    run = run_few(tmp_path, **options)
    assert run.status == "complete"
    again = check(run.path)
    assert again.disagreements == ()
    assert again.verdict == run.verdict


class Breaking(FleetSystem):
    """The simulation, broken off after some rounds, as Ctrl-C, a fault or a kill would."""

    name = "breaking"
    virtual_clock = True

    def __init__(self, after, error):
        self.after, self.error = after, error

    def load(self, federation, folder):
        self.behaviour = federation.behaviour

    def drive(self, server, observer=None):
        def broken(server):
            if observer:
                observer(server)
            if self.error and len(server.ledger.rounds) == self.after:
                raise self.error

        simulate(server, self.behaviour, broken)


FAULTY = {"dropout": 0.2, "slowdown_sigma": 0.3, "availability": 0.7, "availability_block_s": 30.0}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")], ids=["Ctrl-C", "fault"])
def test_a_run_that_was_broken_off_goes_on_to_the_bits_of_one_that_was_not(tmp_path, error):
    whole = run_few(tmp_path, system=Breaking(0, None), **FAULTY)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run_few(tmp_path, system=Breaking(5, error), **FAULTY)
        (folder,) = set(tmp_path.iterdir()) - {whole.path}
    else:
        folder = run_few(tmp_path, system=Breaking(5, error), **FAULTY).path
    broken = Run.open(folder)
    assert broken.status == "aborted"
    assert not broken.verdict.valid
    assert len(broken.samples["federation"].rounds) == 5
    assert not check(folder).fine
    resumed = gnomon.resume(folder, system=Breaking(0, None))
    assert resumed.status == "complete"
    assert arrays_of(resumed) == arrays_of(whole)
    assert parameters_of(resumed) == parameters_of(whole)
    assert resumed.result == whole.result
    assert check(folder).fine == whole.verdict.valid
    assert not (folder / "federation" / "server.npz").exists()


def test_a_killed_run_goes_on_from_what_was_saved_last(tmp_path):
    """A kill leaves no files but the saved server: made here by taking the others away."""
    whole = run_few(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_few(tmp_path, system=Breaking(4, KeyboardInterrupt()))
    (folder,) = set(tmp_path.iterdir()) - {whole.path}
    for name in FILES:
        (folder / "federation" / name).unlink()
    assert len(Run.open(folder).samples["federation"].rounds) == 4
    resumed = gnomon.resume(folder, system=Breaking(0, None))
    assert arrays_of(resumed) == arrays_of(whole)


def test_a_run_that_was_broken_off_in_the_middle_of_a_round_agrees_with_itself(tmp_path):
    """New parameters without a row in the ledger are not put on record."""

    class MidRound(Breaking):
        def drive(self, server, observer=None):
            learner = server.learner

            class Interrupting:
                def __getattr__(self, name):
                    return getattr(learner, name)

                def quality(self, parameters):
                    if len(server.ledger.rounds) == 4:
                        raise KeyboardInterrupt
                    return learner.quality(parameters)

            server.learner = Interrupting()
            super().drive(server, observer)

    with pytest.raises(KeyboardInterrupt):
        run_few(tmp_path, system=MidRound(0, None))
    (folder,) = tmp_path.iterdir()
    found = check(folder)
    assert len(Run.open(folder).samples["federation"].rounds) == 4
    assert found.disagreements == ()
    assert not found.fine
    assert found.results == Run.open(folder).result


def test_a_fault_of_the_fleet_ends_the_run_invalid_and_is_named(tmp_path):
    run = run_few(tmp_path, system=Breaking(3, ValueError("a cable is loose")))
    assert run.status == "aborted"
    failed = next(check for check in run.verdict.failures if check.name == "raised")
    assert "a cable is loose" in failed.why
    assert run.record["measurements"]["federation"]["faults"]


def test_a_fleet_that_stops_too_early_is_at_fault(tmp_path):
    class Lazy(FleetSystem):
        name = "lazy"

        def drive(self, server, observer=None):
            """Do nothing."""

    run = run_few(tmp_path, system=Lazy())
    assert not run.verdict.valid
    assert "lazy stopped before the federation was over" in run.record["aborted_because"]


def test_what_is_no_fleet_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="a registered name or a FleetSystem, got function"):
        run_few(tmp_path, system=lambda: None)
    assert not list(tmp_path.iterdir())


def test_k_above_the_number_of_clients_is_refused_before_there_is_a_folder(tmp_path):
    with pytest.raises(SettingsError, match="K=11 of 10 clients"):
        run_few(tmp_path, controller="fixed:11,1")
    assert not list(tmp_path.iterdir())


def test_progress_rises_to_the_end_and_speaks_of_rounds(tmp_path):
    seen = []
    run_few(tmp_path, observer=seen.append)
    shares = [progress.share_done for progress in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert seen[0].text.startswith("round 1, loss ")
    assert "K 5, E 4, training" in seen[0].text


# Tampering


def with_record(run, change):
    path = run.path / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record["measurements"]["federation"], record)
    path.write_text(json.dumps(record), encoding="utf-8")


def with_parquet(run, name, change):
    path = run.path / "federation" / name
    columns = pq.read_table(path).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), path)


RECORD = {
    "the cost": lambda stored, _: stored["result"].update(cost=1.0),
    "the headline": lambda stored, _: stored["result"]["metric"].update(value=1.0),
    "the loss": lambda stored, _: stored["result"].update(loss=0.1),
    "the quality": lambda stored, _: stored["result"].update(quality=0.99),
    "the rounds": lambda stored, _: stored["result"].update(rounds=3),
    "the regret": lambda stored, _: stored["result"].update(regret={"share": -0.5}),
    "gamma in the settings": lambda stored, _: stored["settings"]["settings"].update(gamma=0.9),
    "gamma in the options": lambda _, record: record["options"].update(gamma=0.9),
    "the target in the options": lambda _, record: record["options"].update(target_loss=2.0),
    "the seed in the options": lambda _, record: record["options"].update(seed=7),
    "the clock": lambda stored, _: stored.update(virtual_clock=False),
    "a check": lambda _, record: record["verdict"]["checks"][1].update(found="loss 0.1"),
    "that it came to its end": lambda stored, _: stored.update(interrupted=True, result=None),
    "the fingerprints": lambda stored, _: stored.pop("files"),
    "the data that was dealt": lambda stored, _: stored["settings"].update(dealt_sha256="0"),
    "the fingerprint of a file": lambda stored, _: stored["files"].update({ROUNDS_FILE: "0"}),
}


@pytest.mark.parametrize("what", RECORD)
def test_a_record_that_was_edited_is_found(copied, what):
    with_record(copied, RECORD[what])
    assert not check(copied.path).fine


def _set(column, place, value):
    return lambda columns: columns[column].__setitem__(place, value)


TABLES = {
    "a rounds time": (ROUNDS_FILE, _set("duration_s", 2, 0.1), "device_costs"),
    "a rounds energy": (ROUNDS_FILE, _set("energy_j", 2, 0.0), "ledger"),
    "a loss in the middle": (ROUNDS_FILE, _set("loss", 2, 0.5), "not the file"),
    "the last loss": (ROUNDS_FILE, _set("loss", -1, 0.1), "the parameters have loss"),
    "the last quality": (ROUNDS_FILE, _set("quality", -1, 1.0), "the parameters have quality"),
    "K": (ROUNDS_FILE, _set("clients_per_round", 1, 4), "device_costs"),
    "E": (ROUNDS_FILE, _set("local_iterations", 1, 1), "device_costs"),
    "a clients energy": (CLIENTS_FILE, _set("energy_j", 7, 0.0), "ledger"),
    "who was asked": (CLIENTS_FILE, _set("client", 0, 9), "device_costs"),
    "a clients samples": (CLIENTS_FILE, _set("samples", 0, 1), "device_costs"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_number_that_was_changed_in_a_table_is_found(copied, what):
    name, change, where = TABLES[what]
    with_parquet(copied, name, change)
    found = check(copied.path)
    assert not found.fine
    words = [*found.disagreements, *(failed.name for failed in found.verdict.failures)]
    assert any(where in line for line in words), words
    assert any("not the file that the run wrote" in line for line in found.disagreements)


def test_both_tables_changed_alike_with_their_fingerprints_still_do_not_fit_the_devices(copied):
    """A round made cheaper consistently: only the devices know better."""
    with_parquet(copied, CLIENTS_FILE, _set("energy_j", 0, 0.001))
    clients = pq.read_table(copied.path / "federation" / CLIENTS_FILE).to_pydict()
    total = sum(e for e, r in zip(clients["energy_j"], clients["round"], strict=True) if r == 0)
    with_parquet(copied, ROUNDS_FILE, _set("energy_j", 0, total))
    found = check(copied.path)
    assert [failed.name for failed in found.verdict.failures] == ["device_costs"]


def test_parameters_of_another_run_are_found(copied, tmp_path):
    other = run_few(tmp_path / "other", seed=1)
    shutil.copy(other.path / "federation" / PARAMETERS_FILE, copied.path / "federation")
    found = check(copied.path)
    assert any("the parameters have loss" in line for line in found.disagreements)


def test_devices_that_were_swapped_are_found(copied):
    path = copied.path / "federation" / "devices.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", encoding="utf-8")
    found = check(copied.path)
    assert any("devices are not those" in line for line in found.disagreements)
    assert "device_costs" in [failed.name for failed in found.verdict.failures]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_damaged_is_named_in_one_line(copied, name):
    path = copied.path / "federation" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(gnomon.GnomonError, match=name.split(".")[0]):
        check(copied.path)
    path.unlink()
    with pytest.raises(gnomon.GnomonError, match=f"{name} is missing|server.npz is missing"):
        check(copied.path)


# Grids


def grid_for(run, **changes):
    settings = run.measurements["federation"]["settings"]
    blueprint = Blueprint.from_json(
        {name: settings[name] for name in Blueprint.model_fields if name in settings}
    )
    points = (
        GridPoint(5, 4, True, 9, 40.0, 1.0, 0.9),
        GridPoint(2, 2, True, 9, 80.0, 0.5, 0.9),
        GridPoint(9, 9, False, 9, 1.0, 0.1, 1.4),
    )
    changed = blueprint.model_copy(update=changes)
    return Grid(changed, settings["devices_sha256"], points)


def test_the_regret_is_taken_against_a_grid_which_is_kept_in_the_folder(finished, tmp_path):
    write_grid(grid_for(finished), tmp_path / "grid.json")
    run = run_few(tmp_path / "runs", grid=tmp_path, gamma=0.25)
    (tmp_path / "grid.json").unlink()
    result = run.result["federation"]
    best_cost = 0.75 * 40 + 0.25 * 1
    assert result["regret"]["best_cost"] == best_cost
    assert result["regret"]["share"] == pytest.approx(result["metric"]["value"] / best_cost - 1)
    again = check(run.path)
    assert again.fine
    assert again.results == run.result


def test_a_grid_of_another_federation_is_refused_before_there_is_a_folder(finished, tmp_path):
    write_grid(grid_for(finished, clients=20), tmp_path / "grid.json")
    with pytest.raises(UsageError, match="clients is 20 in the grid, 10 in the run"):
        run_few(tmp_path / "runs", grid=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_grid_without_a_point_at_the_target_is_noted(finished, tmp_path):
    grid = grid_for(finished)
    write_grid(Grid(grid.blueprint, grid.devices_sha256, grid.points[2:]), tmp_path / "grid.json")
    with pytest.warns(GnomonWarning, match="there will be no regret"):
        run = run_few(tmp_path / "runs", grid=tmp_path / "grid.json")
    assert run.result["federation"]["regret"] is None


def test_a_run_with_a_file_of_devices_is_checked_and_resumed_without_the_file(tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text(
        "compute_s,communication_s,compute_j,communication_j\n"
        + "".join(f"0.{k},1,0.1,0.{k}\n" for k in range(1, 9)),
        encoding="utf-8",
    )
    out = tmp_path / "runs"
    noted = pytest.warns(GnomonWarning, match="one client a device of the file: 8 clients")
    with noted:
        whole = run_few(out, devices=str(path))
    with pytest.raises(KeyboardInterrupt), noted:
        run_few(out, devices=str(path), system=Breaking(3, KeyboardInterrupt()))
    path.unlink()
    (folder,) = set(out.iterdir()) - {whole.path}
    assert check(whole.path).fine
    assert arrays_of(gnomon.resume(folder, system=Breaking(0, None))) == arrays_of(whole)
    assert check(folder).fine


def test_a_task_whose_files_a_person_brings_says_which_and_where(tmp_path):
    with pytest.raises(DataError, match="--data"):
        gnomon.run(FEW.model_copy(update={"task": "federated-idx"}), out=tmp_path)
