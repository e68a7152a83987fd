"""Traces of availability: read from files, repeated for ever, and heeded by the simulated fleet."""

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.run import Run
from gnomon.core.task import make_task
from gnomon.fleet.assembly import Blueprint, assemble
from gnomon.fleet.availability import AvailabilityTrace, read_trace, write_trace
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.options import AVAILABILITY_FILE, FleetOptions
from gnomon.fleet.simulated import next_available, simulate
from gnomon.results.check import check
from tests.fleet.small_fleet import small_server
from tests.fleet.small_run import FEW, run_few

THREE = "client,start_s,end_s\n0,0,10\n1,5,20\n0,15,18\n"
FEDSCALE = {
    3834: {
        "duration": 40,
        "inactive": [20, 60],
        "finish_time": 100,
        "active": [10, 50],
        "model": "CPH1801",
    },
    17: {"duration": 1, "inactive": [7], "finish_time": 30, "active": [0, 25], "model": "x"},
}


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def there(trace, now_s):
    return np.flatnonzero(trace.there(now_s)).tolist()


def test_a_csv_says_who_is_there_and_repeats_after_its_last_end(tmp_path):
    trace = read_trace(written(tmp_path / "trace.csv", THREE), clients=3)
    seen = {now_s: there(trace, now_s) for now_s in (0, 5, 10, 15, 18, 19.9)}
    assert seen == {0: [0], 5: [0, 1], 10: [1], 15: [0, 1], 18: [1], 19.9: [1]}
    assert [there(trace, now_s + 40) for now_s in seen] == list(seen.values())
    assert trace.source == "trace.csv"


def test_another_period_may_be_given_for_all_or_in_a_column_for_each(tmp_path):
    path = written(tmp_path / "trace.csv", THREE)
    assert there(read_trace(path, 2, period_s=30), 22) == []
    own = "client,start_s,end_s,period_s\n0,0,5,10\n1,0,5,20\n"
    trace = read_trace(written(tmp_path / "own.csv", own), 2)
    assert [there(trace, now_s) for now_s in (2, 12, 22)] == [[0, 1], [0], [0, 1]]


def test_times_of_one_client_that_overlap_or_touch_are_one(tmp_path):
    text = "client,start_s,end_s\n0,5,9\n0,0,6\n0,9,12\n0,20,30\n"
    trace = read_trace(written(tmp_path / "trace.csv", text), 1)
    assert trace.starts_s.tolist() == [0, 20]
    assert trace.ends_s.tolist() == [12, 30]


@pytest.mark.parametrize("kind", ["pickle", "json"])
def test_fedscales_trace_gives_each_client_an_entry_and_begins_over_again(tmp_path, kind):
    path = tmp_path / f"client_behave_trace.{kind}"
    path.write_bytes(pickle.dumps(FEDSCALE) if kind == "pickle" else json.dumps(FEDSCALE).encode())
    trace = read_trace(path, clients=3)
    assert trace.periods_s.tolist() == [100, 30, 100]
    assert there(trace, 12) == [0, 2]
    assert there(trace, 120) == [1]
    # The last entry had not gone when its recording ended.
    assert there(trace, 27) == [1]


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "trace.pickle"
    path.write_bytes(pickle.dumps({0: print}))
    with pytest.raises(DataError, match=r"trace\.pickle: it holds builtins\.print"):
        read_trace(path, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("client,start_s\n0,1\n", "has no column end_s"),
        ("client,start_s,end_s\n", "holds no stretch of time"),
        ("", "is empty"),
        (
            "client,start_s,end_s\n0,1,2\nx,1,2\n",
            "line 3, client: must be a whole number from 0 to 4",
        ),
        ("client,start_s,end_s\n5,1,2\n", "line 2, client: must be .* got '5'"),
        ("client,start_s,end_s\n-1,1,2\n", "line 2, client: must be .* got '-1'"),
        ("client,start_s,end_s\n0,soon,2\n", "line 2, start_s: 'soon' is not a number"),
        ("client,start_s,end_s\n0,1,inf\n", "line 2, end_s: must be zero or more, got inf"),
        ("client,start_s,end_s\n0,-1,2\n", "line 2, start_s: must be zero or more, got -1"),
        ("client,start_s,end_s\n0,1,2\n0,2,2\n", "line 3, end_s: must be above start_s 2, got 2"),
        ("client,start_s,end_s\n0,1\n", "line 2 has 2 values for 3 columns"),
        (
            "client,start_s,end_s,period_s\n0,1,2,3\n0,2,3,4\n",
            "line 3, period_s: client 0 had 3 before, got 4",
        ),
        (
            "client,start_s,end_s,period_s\n0,1,2,1.5\n",
            r"line 2, end_s: must be at most the period, 1\.5 s, got 2",
        ),
    ],
)
def test_a_mistake_in_a_csv_is_told_by_line_and_column(tmp_path, text, words):
    with pytest.raises(DataError, match=words) as raised:
        read_trace(written(tmp_path / "trace.csv", text), 5)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"active": [1], "inactive": [2]}, "client a: needs finish_time"),
        ({"active": 1, "inactive": [2], "finish_time": 5}, "needs finish_time"),
        (
            {"active": [1], "inactive": [2], "finish_time": 0},
            "finish_time: must be positive, got 0",
        ),
        ({"active": [1], "inactive": [2, 3], "finish_time": 9}, "1 times in active, 2 in inactive"),
        ({"active": [3], "inactive": [2], "finish_time": 9}, "comes at 3 s and goes at 2 s"),
        ({"active": [], "inactive": [], "finish_time": 9}, "nobody is ever there"),
        ({"active": [9], "inactive": [12], "finish_time": 9}, "nobody is ever there"),
    ],
)
def test_a_mistake_in_fedscales_trace_is_told_by_client(tmp_path, entry, words):
    with pytest.raises(DataError, match=words):
        read_trace(written(tmp_path / "trace.json", json.dumps({"a": entry})), 3)


def test_a_file_that_is_not_there_or_is_none_is_told(tmp_path):
    for name in ("none.csv", "none.json", "none.pickle"):
        with pytest.raises(DataError, match="cannot read"):
            read_trace(tmp_path / name, 2)
    with pytest.raises(DataError, match="must hold a dict of clients, got list"):
        read_trace(written(tmp_path / "list.json", "[1]"), 2)
    with pytest.raises(SettingsError, match="period_s must be positive, got 0"):
        read_trace(written(tmp_path / "trace.csv", THREE), 2, period_s=0)


def random_trace(draw_from):
    """Up to four clients with up to four stretches each, in a period of their own."""
    generator = np.random.default_rng(draw_from)
    clients = int(generator.integers(1, 5))
    periods_s = generator.integers(20, 60, clients).astype(float)
    stretches = []
    for client in range(clients):
        for _ in range(int(generator.integers(1, 5))):
            start_s, end_s = np.sort(generator.integers(0, int(periods_s[client]) + 1, 2))
            if start_s < end_s:
                stretches.append((client, float(start_s), float(end_s)))
    return AvailabilityTrace.of(stretches or [(0, 0.0, 1.0)], periods_s)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 2**32), st.floats(0, 500))
def test_nobody_comes_or_goes_before_the_next_change(number, now_s):
    trace = random_trace(number)
    change_s = trace.next_change_s(now_s)
    assert change_s > now_s
    for share in (0.1, 0.5, 0.9):
        between_s = now_s + share * (change_s - 1e-6 - now_s)
        if between_s > now_s:
            assert there(trace, between_s) == there(trace, now_s)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 2**32), st.floats(0, 500))
def test_a_client_stays_as_long_as_it_is_said_to_and_then_goes(number, now_s):
    trace = random_trace(number)
    everybody = np.arange(len(trace))
    for client, stays_s in zip(everybody, trace.stays_s(everybody, now_s), strict=True):
        assert (stays_s > 0) == (client in there(trace, now_s))
        if 1e-6 < stays_s < np.inf:
            assert client in there(trace, now_s + stays_s - 1e-7)
            assert client not in there(trace, now_s + stays_s + 1e-7)


def test_a_client_that_is_there_all_day_never_leaves_and_one_over_midnight_stays_on():
    trace = AvailabilityTrace.of(
        [(0, 0.0, 24.0), (1, 20.0, 24.0), (1, 0.0, 6.0)], np.array([24.0, 24.0])
    )
    np.testing.assert_allclose(trace.stays_s(np.array([0, 1]), 22.0), [np.inf, 8.0])


def test_a_trace_that_was_written_is_read_again_to_the_last_bit(tmp_path):
    for number in range(20):
        trace = random_trace(number)
        shifted = AvailabilityTrace(
            trace.owners, trace.starts_s / 3, trace.ends_s / 3, trace.periods_s / 3
        )
        write_trace(shifted, tmp_path / "kept.csv")
        again = read_trace(tmp_path / "kept.csv", len(shifted))
        for name in ("owners", "starts_s", "ends_s"):
            assert getattr(again, name).tobytes() == getattr(shifted, name).tobytes()
        own = np.unique(shifted.owners)
        assert again.periods_s[own].tobytes() == shifted.periods_s[own].tobytes()


def test_stretches_that_cannot_be_are_refused():
    for stretches, words in (([(0, 3.0, 2.0)], "from 3 s to 2 s"), ([], "nobody is ever there")):
        with pytest.raises(SettingsError, match=words):
            AvailabilityTrace.of(stretches, np.array([5.0]))


# In the fleet


DAY = AvailabilityTrace.of(
    [(client, 0.0, 20.0) for client in range(3)] + [(client, 30.0, 50.0) for client in range(3, 6)],
    np.full(6, 60.0),
)
"""Three clients come in the morning, three at night; from 20 to 30 and from 50 to 60 nobody is there."""


def test_only_those_who_are_there_are_asked_and_the_server_waits_for_them():
    server = small_server(6, 2, max_rounds=40)
    simulate(server, Behaviour(trace=DAY))
    rounds, clients = server.ledger.rounds, server.ledger.clients
    waited = 0
    for row in rounds:
        asked = clients[clients["round"] == row["round"]]
        idle_s = max(row["duration_s"] - asked["duration_s"].max(), 0.0)
        began_s = row["started_s"] + idle_s
        assert set(asked["client"]) == set(there(DAY, began_s))
        waited += idle_s > 1
    assert waited > 3
    assert set(clients["client"]) == set(range(6))
    assert server.ledger.disagreements() == []


def test_a_client_whose_time_ends_in_mid_round_drops_out_at_the_energy_it_used_until_then():
    server = small_server(6, 50, max_rounds=1)  # client 2 would take 18 s, client 0 and 1 less
    trace = AvailabilityTrace.of([(0, 0.0, 9.0), (1, 0.0, 30.0), (2, 0.0, 9.0)], np.full(6, 60.0))
    simulate(server, Behaviour(trace=trace))
    clients = server.ledger.clients
    assert clients["outcome"].tolist() == ["used", "used", "dropped"]
    np.testing.assert_allclose(clients["duration_s"], [6, 12, 9])
    np.testing.assert_allclose(clients["energy_j"], [0.6, 1.2, 0.9])
    assert server.ledger.rounds["duration_s"][0] == pytest.approx(12)


def test_a_trace_and_a_share_of_the_time_hold_together():
    both = Behaviour(availability=0.5, availability_block_s=7, trace=DAY)
    alone = Behaviour(availability=0.5, availability_block_s=7)
    for now_s in np.arange(0, 200, 1.7):
        expected = set(alone.available(6, now_s, 0)) & set(there(DAY, now_s))
        assert set(both.available(6, now_s, 0)) == expected
    who, when_s = next_available(both, 6, 21.0, seed=0)
    assert len(who)
    assert when_s >= 30


def test_a_trace_of_another_number_of_clients_is_refused():
    with pytest.raises(SettingsError, match="trace is of 6 clients, the federation has 5"):
        Behaviour(trace=DAY).available(5, 0.0, 0)


def test_the_same_seed_gives_the_same_bits_with_a_trace():
    first, again = (small_server(3, 5, max_rounds=25, seed=4) for _ in range(2))
    for server in (first, again):
        simulate(server, Behaviour(trace=DAY, dropout=0.2))
    assert first.parameters.tobytes() == again.parameters.tobytes()
    assert first.ledger.clients.tobytes() == again.ledger.clients.tobytes()


# In a run


@pytest.fixture(scope="module")
def half_day(tmp_path_factory):
    """A trace of ten clients: the even ones in the first half of two minutes, the odd ones in the second."""
    lines = [f"{client},{60 * (client % 2)},{60 * (client % 2) + 60}" for client in range(10)]
    path = tmp_path_factory.mktemp("trace") / "half_day.csv"
    return written(path, "\n".join(["client,start_s,end_s", *lines, ""]))


def test_a_blueprint_names_the_file_and_its_federation_reads_it(half_day):
    options = FleetOptions(availability_trace=half_day)
    federation = assemble(FEW, make_task("federated-digits"), options)
    blueprint = federation.blueprint
    assert Blueprint.from_json(json.loads(json.dumps(blueprint.to_json()))) == blueprint
    assert "trace" not in blueprint.to_json()["behaviour"]
    assert there(federation.behaviour.trace, 0) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("more", [{}, {"concurrency": 4}], ids=["synchronous", "asynchronous"])
def test_a_run_keeps_the_trace_and_is_made_again_without_the_file(half_day, tmp_path, more):
    given = tmp_path / "given.csv"
    shutil.copy(half_day, given)
    run = run_few(tmp_path, availability_trace=given, **more)
    given.unlink()
    assert "availability from a file" in run.verdict.remark
    assert set(run.samples["federation"].clients["outcome"]) >= {"used", "dropped"}
    found = check(run.path)
    assert found.disagreements == ()
    assert not {each.name for each in found.verdict.failures} & {"device_costs", "ledger"}
    kept = run.path / "federation" / AVAILABILITY_FILE
    kept.write_text(kept.read_text().replace("60.0,120.0", "50.0,120.0"), encoding="utf-8")
    assert any(AVAILABILITY_FILE in line for line in check(run.path).disagreements)


def test_the_command_line_takes_a_trace(command, half_day, tmp_path):
    done = command(
        *("run", "federated-digits", "--clients", "10", "--controller", "fixed:4,5"),
        *("--max-rounds", "10", "--availability-trace", half_day, "--no-report", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr  # ten rounds are too few for the target
    run = Run.open(tmp_path / json.loads(done.stdout)["path"])
    first = run.samples["federation"].clients[:4]
    assert not (first["client"] % 2).any()


def test_the_command_line_tells_a_mistake_in_a_trace_in_one_line(command, tmp_path):
    path = written(tmp_path / "bad.csv", "client,start_s,end_s\n12,0,5\n")
    done = command(
        *("run", "federated-digits", "--clients", "10", "--availability-trace", path), cwd=tmp_path
    )
    assert done.returncode == 2
    assert "line 2, client: must be a whole number from 0 to 9, got '12'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
