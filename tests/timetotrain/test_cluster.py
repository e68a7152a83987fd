"""A campaign spread over a Ray cluster of two workers on this machine."""

import json

import pytest

import gnomon
from gnomon.core.errors import SystemFault
from gnomon.results.check import check
from tests.timetotrain import loops
from tests.timetotrain.test_processes import failures, own_loop

ray = pytest.importorskip("ray")
MEASUREMENT = "time-to-train"


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes, each with a processor; address of the head."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made.address
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of files that its processes hold
@pytest.mark.timeout(300)
def test_the_seeds_of_a_campaign_are_spread_over_both_workers(tmp_path, cluster):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    body = f"""
    import pathlib
    meeting = pathlib.Path({str(meeting)!r})
    (meeting / str(run.plan.number)).touch()
    until_s = time.monotonic() + 60
    while len(list(meeting.iterdir())) < 2 and time.monotonic() < until_s:
        time.sleep(0.02)
"""
    run = gnomon.run(
        loops.benchmark(),
        system="own-loop",
        system_options=own_loop(tmp_path, body),
        runs=4,
        seed=3,
        cluster=cluster,
        out=tmp_path / "runs",
    )
    assert run.verdict.valid, failures(run)
    assert check(run.path).fine
    alone = gnomon.run(loops.benchmark(), system=loops.train, runs=4, seed=3, out=tmp_path / "runs")
    spread, here = (
        [
            (trace.number, trace.seed, trace.samples)
            for trace in sorted(each.samples[MEASUREMENT], key=lambda trace: trace.number)
        ]
        for each in (run, alone)
    )
    assert spread == here
    folder = run.path / MEASUREMENT
    machines = [
        json.loads((folder / f"run-0{number}" / "machine.json").read_text())
        for number in range(1, 5)
    ]
    assert machines[0]["packages"]["gnomon"] == gnomon.__version__
    overlaps = intervals(run)
    assert any(a[0] < b[1] and b[0] < a[1] for a in overlaps for b in overlaps if a is not b)


def intervals(run):
    """When each run was there, on the clock that all workers of one machine share."""
    return [(trace.ending.launched_ns, trace.ending.ended_ns) for trace in run.samples[MEASUREMENT]]


def test_a_cluster_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    def refused(**_):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(SystemFault, match="start one with `ray start --head`"):
        gnomon.run(
            loops.benchmark(),
            system="own-loop",
            system_options=own_loop(tmp_path, "pass"),
            runs=3,
            cluster="127.0.0.1:1",
            out=tmp_path / "runs",
        )


def test_runs_on_unlike_machines_are_no_sample(tmp_path):
    run = gnomon.run(loops.benchmark(), system=loops.train, runs=3, seed=3, out=tmp_path)
    for number, cores in ((1, 2), (2, 2), (3, 64)):
        machine = {"cpu": "one", "available_cores": cores}
        path = run.path / MEASUREMENT / f"run-0{number}" / "machine.json"
        path.write_text(json.dumps(machine))
    found = {each.name: each.why for each in check(run.path).verdict.failures}
    assert "run 3 was on a machine with another available_cores than run 1" in found["machines"]
