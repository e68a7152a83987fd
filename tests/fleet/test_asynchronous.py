"""Asynchronous rounds, held against schedules worked out by hand and against synchronous ones."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnomon
from gnomon.core.errors import SettingsError
from gnomon.core.run import Run
from gnomon.core.task import make_task
from gnomon.fleet.asynchronous import AGAIN, MOST_LOST, Work
from gnomon.fleet.availability import AvailabilityTrace
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.campaign import prepare
from gnomon.fleet.control import Fixed, parse_controller
from gnomon.fleet.device_files import simulated_devices
from gnomon.fleet.devices import Devices
from gnomon.fleet.logistic import LogisticLearner
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.orders import Decision, Order, Outcome
from gnomon.fleet.server import Server
from gnomon.fleet.settings import FederatedSettings
from gnomon.fleet.simulated import simulate
from gnomon.fleet.update_rule import staleness_weight
from gnomon.results.check import check
from gnomon.systems.simulated_fleet import SimulatedFleet
from tests.fleet.small_fleet import small_data, small_devices, small_server
from tests.fleet.small_run import FEW, run_few

FAULTS = Behaviour(availability=0.7, availability_block_s=20, dropout=0.2, slowdown_sigma=0.4)


def devices_of(*durations_s):
    """Devices that take these seconds a round, and a tenth of them in joules, whatever E is."""
    whole = np.array(durations_s, dtype=np.float64)
    return Devices(np.zeros_like(whole), whole, np.zeros_like(whole), whole / 10)


def server_of(devices, controller, **given):
    """A server of as many clients as there are devices."""
    data = small_data(sizes=(10,) * len(devices))
    chosen = FederatedSettings(**{"max_rounds": 20, "batch_size": 4, **given})
    samples = np.diff(data.offsets)
    return Server(chosen, LogisticLearner(data), devices, samples, controller)


class Ones:
    """A learner whose every update is one in each place; keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    def initial(self, seed):
        return np.zeros(3, dtype=np.float32)

    def train(self, parameters, clients, training):
        self.asked += [(training.round_number, client, parameters) for client in clients.tolist()]
        return np.ones((len(clients), 3), dtype=np.float32), np.zeros(len(clients))

    def loss(self, parameters):
        return 1.0

    def quality(self, parameters):
        return 0.5


def two_clients(rounds, **given):
    """One client reports every second, the other every 2.5 s; each report is a round."""
    server = server_of(
        devices_of(1.0, 2.5),
        Fixed(1, 1),
        max_rounds=rounds,
        concurrency=2,
        decay="constant",
        **given,
    )
    server.learner = Ones()
    server.parameters = server._initial = np.zeros(3, dtype=np.float32)
    return server


def columns(rows, *names):
    return list(zip(*(rows[name].tolist() for name in names), strict=True))


def test_the_server_goes_on_with_the_kth_report_and_a_round_is_the_time_since_the_last():
    server = two_clients(rounds=5)
    simulate(server)
    rounds, clients = server.ledger.rounds, server.ledger.clients
    ends_s = rounds["started_s"] + rounds["duration_s"]
    np.testing.assert_allclose(ends_s, [1, 2, 2.5, 3, 4])
    assert columns(clients, "round", "client", "outcome", "staleness") == [
        (0, 0, "used", 0),
        (1, 0, "used", 0),
        (2, 1, "used", 2),  # it began with the first model, two were made since
        (3, 0, "used", 1),  # it began when the second client had not reported yet
        (4, 0, "used", 0),
        (4, 1, "spare", 1),  # the second one, still at work at the end
    ]
    np.testing.assert_allclose(clients["duration_s"], [1, 1, 2.5, 1, 1, 1.5])
    np.testing.assert_allclose(rounds["energy_j"], [0.1, 0.1, 0.25, 0.1, 0.1 + 0.15])
    assert rounds["asked"].tolist() == [1, 1, 1, 1, 2]
    assert server.ledger.disagreements() == []


def test_stale_updates_count_as_the_paper_has_it():
    """Nguyen et al., AISTATS 2022: 1 / sqrt(1 + staleness)."""
    server = two_clients(rounds=4)
    simulate(server)
    expected = 1 + 1 + 1 / math.sqrt(3) + 1 / math.sqrt(2)
    np.testing.assert_allclose(server.parameters, expected, rtol=1e-6)


@pytest.mark.parametrize(("power", "last"), [(0.0, 1.0), (1.0, 1 / 3)])
def test_another_power_of_staleness_weighs_otherwise(power, last):
    server = two_clients(rounds=3, staleness_power=power)
    simulate(server)
    np.testing.assert_allclose(server.parameters, 2 + last, rtol=1e-6)
    assert staleness_weight(0, power) == 1.0


def test_a_client_begins_with_the_newest_model_and_not_with_one_made_since():
    server = two_clients(rounds=4)
    simulate(server)
    began_with = [float(model[0]) for _, _, model in server.learner.asked]
    np.testing.assert_allclose(began_with, [0, 1, 0, 2], rtol=1e-6)


def test_a_client_that_takes_part_twice_between_two_aggregations_draws_other_batches():
    server = server_of(devices_of(1.0, 1.3, 50.0), Fixed(3, 1), max_rounds=3, concurrency=3)
    server.learner = Ones()
    server.parameters = np.zeros(3, dtype=np.float32)
    simulate(server)
    tasks = [(number, client) for number, client, _ in server.learner.asked]
    assert len(tasks) == len(set(tasks)) == 9
    assert {number // AGAIN for number, _ in tasks} == {0, 1}
    clients = server.ledger.clients
    first = clients[(clients["round"] == 0) & (clients["outcome"] == "used")]
    assert np.bincount(first["client"]).max() > 1


@pytest.mark.parametrize("clients_per_round", [2, 4, 6])
@pytest.mark.parametrize("seed", [0, 3])
def test_with_equal_devices_and_as_many_at_work_as_are_waited_for_it_is_synchronous(
    clients_per_round, seed
):
    devices = devices_of(*[3.0] * 6)
    settings_of = {"seed": seed, "max_rounds": 12}
    synchronous = server_of(devices, Fixed(clients_per_round, 4), **settings_of)
    asynchronous = server_of(
        devices, Fixed(clients_per_round, 4), concurrency=clients_per_round, **settings_of
    )
    simulate(synchronous)
    simulate(asynchronous)
    assert asynchronous.parameters.tobytes() == synchronous.parameters.tobytes()
    assert not asynchronous.ledger.clients["staleness"].any()
    for ours, theirs in (
        (asynchronous.ledger.rounds, synchronous.ledger.rounds),
        (asynchronous.ledger.clients, synchronous.ledger.clients),
    ):
        for name in ours.dtype.names:
            if ours[name].dtype.kind == "f":
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12)
            else:
                np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_stragglers_a_target_is_reached_in_much_less_time_with_the_same_k(seed):
    devices = simulated_devices("lognormal", 20, seed=1, spread=2.0)
    took_s = {}
    for concurrency in (None, 5, 10):
        server = server_of(
            devices,
            Fixed(5, 5),
            concurrency=concurrency,
            target_loss=0.3,
            learning_rate=0.01,
            max_rounds=200,
            seed=seed,
        )
        simulate(server)
        assert server.ended.reason == "target"
        assert len(server.ledger.rounds) > 10
        took_s[concurrency] = server.ledger.duration_s
    assert took_s[None] > 1.3 * took_s[5]  # measured: 1.7 to 2.3
    assert took_s[None] > 2.5 * took_s[10]  # measured: 3.7 to 4.9


def everything(server):
    ledger = server.ledger
    return server.parameters.tobytes(), ledger.rounds.tobytes(), ledger.clients.tobytes()


def faulty_server(**given):
    return small_server(3, 10, **{"max_rounds": 20, "concurrency": 4, "seed": 2, **given})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"deadline_s": 6.0},
        {"aggregation": "median", "max_update_norm": 0.5},
        {"aggregation": "unbiased", "server_optimizer": "adam"},
        {"concurrency": 1},
    ],
)
def test_the_same_seed_gives_the_same_bits_and_a_ledger_that_adds_up(given):
    first, again, other = (
        faulty_server(**given),
        faulty_server(**given),
        faulty_server(**given, seed=3),
    )
    for server in (first, again, other):
        simulate(server, FAULTS)
        assert server.ledger.disagreements() == []
    assert everything(first) == everything(again)
    assert everything(first)[0] != everything(other)[0]
    assert len(first.ledger.rounds) == 20
    assert np.isfinite(first.parameters).all()
    outcomes = set(first.ledger.clients["outcome"].tolist())
    assert {"used", "dropped"} <= outcomes


@pytest.mark.parametrize("stop_after", [1, 7, 19])
def test_a_federation_that_was_broken_off_goes_on_with_the_clients_that_were_at_work(
    tmp_path, stop_after
):
    whole = faulty_server()
    simulate(whole, FAULTS)

    def stop(server):
        if len(server.ledger.rounds) == stop_after:
            raise KeyboardInterrupt

    first, second = faulty_server(), faulty_server()
    with pytest.raises(KeyboardInterrupt):
        simulate(first, FAULTS, stop)
    first.save(tmp_path)
    second.restore(tmp_path)
    simulate(second, FAULTS)
    assert everything(second) == everything(whole)
    assert second.ended == whole.ended


def test_a_federation_that_was_saved_after_its_end_is_not_charged_twice(tmp_path):
    whole, again = faulty_server(), faulty_server()
    simulate(whole, FAULTS)
    whole.save(tmp_path)
    again.restore(tmp_path)
    simulate(again, FAULTS)
    assert everything(again) == everything(whole)


def order_of(number, wanted, iterations=10, start="here"):
    nobody = np.zeros(0, dtype=np.int64)
    model = np.zeros(1, dtype=np.float32)
    return Order(number, nobody, nobody, wanted, iterations, 0.1, None, model, start)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([Behaviour(), Behaviour(dropout=0.3, slowdown_sigma=1.0)]),
    st.integers(0, 2**40),
)
def test_so_many_are_at_work_at_all_times_and_nobody_does_two_things_at_once(
    concurrency, wanted, behaviour, seed
):
    devices = simulated_devices("lognormal", 9, seed=seed % 97, spread=1.0)
    work = Work(devices, behaviour, FederatedSettings(concurrency=concurrency, seed=seed))
    now_s, tasks = 0.0, []
    for number in range(12):
        came, now_s = work.gather(order_of(number, wanted), now_s)
        assert sum(task.outcome is Outcome.USED for task in came) == wanted
        tasks += came
    tasks += work.stop(now_s)
    for client in range(9):
        own = sorted((task.began_s, task.ends_s) for task in tasks if task.client == client)
        assert all(end <= begin + 1e-9 for (_, end), (begin, _) in pairwise(own))
    for instant_s in np.random.default_rng(0).uniform(0, now_s, 30):
        at_work = [task for task in tasks if task.began_s <= instant_s < task.ends_s]
        assert len(at_work) == concurrency


def test_what_is_saved_of_those_at_work_is_what_is_at_work_again():
    devices = small_devices()
    chosen = FederatedSettings(concurrency=4)
    work, again = Work(devices, FAULTS, chosen), Work(devices, FAULTS, chosen)
    _, now_s = work.gather(order_of(0, 3), 0.0)
    again.restore(work.saved())
    for one, other in zip(work.stop(now_s), again.stop(now_s), strict=True):
        assert replace(one, order=other.order) == other
        assert one.order.round_number == other.order.round_number
        assert one.order.parameters.tobytes() == other.order.parameters.tobytes()


def test_clients_are_asked_only_when_they_are_there_and_as_soon_as_they_come():
    """Client 0 is there from 0 to 5, client 1 from 4 to 11; a task takes 3 s, 2 are wanted at work."""
    trace = AvailabilityTrace.of([(0, 0.0, 5.0), (1, 4.0, 11.0)], np.array([20.0, 20.0]))
    work = Work(devices_of(3.0, 3.0), Behaviour(trace=trace), FederatedSettings(concurrency=2))
    came, now_s = work.gather(order_of(0, 3), 0.0)
    assert [(task.client, task.outcome.value) for task in came] == [
        (0, "used"),  # from 0 to 3
        (0, "dropped"),  # from 3, until its time is over at 5
        (1, "used"),  # from 4 to 7
        (1, "used"),  # to 10
    ]
    assert now_s == pytest.approx(10.0)
    np.testing.assert_allclose([task.began_s for task in came], [0, 3, 4, 7], atol=1e-6)
    assert came[1].duration_s == pytest.approx(2.0)
    assert came[1].energy_j == pytest.approx(0.2)


def test_a_round_in_which_too_many_are_lost_goes_on_with_what_it_has_and_training_gives_up():
    server = small_server(2, 5, concurrency=3, max_rounds=100)
    simulate(server, Behaviour(dropout=1.0))
    assert server.ended.reason == "no reports"
    assert server.ledger.rounds["asked"][0] == MOST_LOST * 2
    assert not server.parameters.any()
    assert server.ledger.disagreements() == []


@dataclass(frozen=True)
class Anew:
    """Begins a new course of training in the fourth round."""

    name: str = "anew"

    def next(self, state):
        start = "beginning" if len(state.history) == 3 else "here"
        return Decision(2, 5, start=start)

    def describe(self):
        return {"name": self.name}


def test_when_training_begins_anew_those_at_work_are_stopped_and_charged():
    server = small_server(controller=Anew(), concurrency=5, max_rounds=5)
    simulate(server)
    clients = server.ledger.clients
    fourth = clients[clients["round"] == 3]
    assert fourth["outcome"].tolist() == ["spare"] * 3 + ["used"] * 2
    assert not fourth["staleness"][3:].any()
    assert server.ledger.disagreements() == []


def test_joules_of_those_at_work_count_towards_the_budget():
    budget_j = 20.0
    server = server_of(
        devices_of(*range(1, 9)),
        parse_controller("fixed:2,1"),
        concurrency=8,
        max_energy_j=budget_j,
        max_rounds=1000,
    )
    simulate(server)
    assert server.ended.reason == "stopped"
    assert 0.85 * budget_j < server.ledger.energy_j <= budget_j
    assert "spare" in server.ledger.clients["outcome"][-8:]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clip_norm": 1.0}, "differential privacy"),
        ({"sampling": "weighted"}, "uniformly"),
        ({"over_selection": 1.5}, "raise concurrency in place of over_selection"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"staleness_power": -1.0}, "greater than or equal to 0"),
        ({"staleness_power": math.inf}, "finite"),
    ],
)
def test_what_means_nothing_in_asynchronous_rounds_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        FederatedSettings(**{"concurrency": 2, **given})


def test_more_clients_at_work_than_there_are_is_refused():
    with pytest.raises(SettingsError, match="concurrency is 7, but there are 6 clients"):
        small_server(concurrency=7)
    with pytest.raises(SettingsError, match="set concurrency"):
        Work(small_devices(), Behaviour(), FederatedSettings())


def test_all_events_of_one_instant_are_taken_in_before_anybody_begins_anew():
    """Six equal devices, three wanted: two rounds end at once, and only then all begin again."""
    server = server_of(devices_of(*[2.0] * 6), Fixed(3, 1), concurrency=6, max_rounds=4)
    simulate(server)
    np.testing.assert_allclose(server.ledger.rounds["duration_s"], [2, 0, 2, 0], atol=1e-9)
    used = server.ledger.clients[server.ledger.clients["outcome"] == "used"]
    assert used["staleness"].tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert used["client"][:6].tolist() == list(range(6))


RUN = {"concurrency": 7, "dropout": 0.2, "slowdown_sigma": 0.3, "learning_rate": 0.2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_few(tmp_path_factory.mktemp("asynchronous"), **RUN)


def test_a_recorded_run_is_made_again_from_its_seed(finished):
    found = check(finished.path)
    assert found.disagreements == ()
    assert {each.name for each in found.verdict.checks} >= {"ledger", "device_costs"}
    assert not [each for each in found.verdict.failures if each.name in ("ledger", "device_costs")]
    assert finished.samples["federation"].clients["staleness"].max() > 0


@pytest.mark.parametrize(
    ("table", "column", "place", "value"),
    [
        ("rounds", "duration_s", 3, 0.5),
        ("rounds", "local_iterations", 3, 1),
        ("rounds", "clients_per_round", 3, 10**9),
        ("clients", "staleness", -1, 4),
        ("clients", "client", 5, 9),
        ("clients", "outcome", -1, "dropped"),
        ("clients", "energy_j", -1, 0.0),
    ],
)
def test_a_number_that_was_changed_in_the_record_is_found(
    finished, tmp_path, table, column, place, value
):
    shutil.copytree(finished.path, tmp_path / "copy")
    path = tmp_path / "copy" / "federation" / f"{table}.parquet"
    kept = pq.read_table(path).to_pydict()
    kept[column][place] = value
    pq.write_table(pa.table(kept), path)
    failures = {each.name for each in check(tmp_path / "copy").verdict.failures}
    assert failures & {"device_costs", "ledger"}


class Broken(SimulatedFleet):
    """Ctrl-C after the fifth round."""

    def drive(self, server, observer=None):
        def broken(server):
            observer(server)
            if len(server.ledger.rounds) == 5:
                raise KeyboardInterrupt

        simulate(server, self._behaviour, broken)


def test_a_run_that_was_broken_off_is_resumed_to_the_bits_of_one_that_was_not(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_few(tmp_path, system=Broken(), **RUN)
    (folder,) = tmp_path.iterdir()
    assert not {each.name for each in check(folder).verdict.failures} & {"device_costs", "ledger"}
    resumed = gnomon.resume(folder, system=SimulatedFleet())
    for name in ("rounds", "clients"):
        ours, theirs = (getattr(run.samples["federation"], name) for run in (resumed, finished))
        assert ours.tobytes() == theirs.tobytes()
    assert resumed.result == finished.result
    assert check(folder).disagreements == ()


def test_a_real_fleet_is_not_asked_for_asynchronous_rounds(tmp_path):
    class Real(SimulatedFleet):
        name = "real"
        virtual_clock = False

    with pytest.raises(SettingsError, match="leave out --concurrency"):
        run_few(tmp_path, system=Real(), **RUN)


def test_a_controller_that_chooses_by_synchronous_rounds_is_told_of():
    (note,) = prepare(
        FEW, make_task("federated-digits"), FleetOptions(concurrency=4, controller="adaptive")
    )
    assert "takes rounds for synchronous" in note


def test_the_command_line_runs_it_and_says_what_was_other_than_declared(command, tmp_path):
    done = command(
        *("run", "federated-digits", "--clients", "10", "--learning-rate", "0.3"),
        *("--controller", "fixed:4,5", "--max-rounds", "12", "--concurrency", "6"),
        *("--staleness-power", "1", "--no-report", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr  # twelve rounds are too few for the target
    said = json.loads(done.stdout)
    run = Run.open(tmp_path / said["path"])
    assert run.record["options"]["concurrency"] == 6
    kept = run.record["measurements"]["federation"]["settings"]["settings"]
    assert (kept["concurrency"], kept["staleness_power"]) == (6, 1.0)
    assert "concurrency 6 instead of None" in run.verdict.remark
    assert run.samples["federation"].clients["staleness"].any()


def test_the_command_line_refuses_more_at_work_than_there_are_in_one_line(command, tmp_path):
    done = command(
        "run", "federated-digits", "--clients", "10", "--concurrency", "11", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "concurrency is 11, but there are 10 clients" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
