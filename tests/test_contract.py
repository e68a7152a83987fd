"""The contract of everything that is registered: each benchmark, task and system must keep it."""

import inspect
import json

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import DataError
from gnomon.core.protocol import Protocol
from gnomon.core.registry import BENCHMARKS, PROTOCOLS, SYSTEMS, TASKS
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import DataSource, Task
from gnomon.fleet.assembly import assemble
from gnomon.fleet.system import FleetSystem
from gnomon.loadgen.system import System
from gnomon.results.check import check

SOME = 32


def measured_by(protocol):
    """Benchmarks of this protocol."""
    return [name for name in BENCHMARKS.names() if BENCHMARKS.load(name).protocol == protocol]


def brings_data(task_name):
    """Whether a task has its own data; others need files that a person brings."""
    return not getattr(TASKS.load(task_name), "needs", "")


READY_TASKS = [name for name in TASKS.names() if brings_data(name)]
READY_BENCHMARKS = [name for name in BENCHMARKS.names() if brings_data(BENCHMARKS.load(name).task)]
SHORTEST = {
    "load": {"performance": False},
    "fleet": {"controller": "fixed:10,10"},
    "device": {"performance": False},
    # One thread: the tests share the processors, and threads that wait for each other take them all.
    "timetotrain": {"runs": 3, "seed": 1, "system_options": {"threads": 1}},
}
"""By protocol: options of a run that is short and still reaches its quality."""


def ready_systems(kind=object):
    """Systems that can be made without options; one that needs a model cannot be tried here."""
    return [
        name
        for name in SYSTEMS.names()
        if issubclass(SYSTEMS.load(name), kind)
        and all(
            parameter.default is not parameter.empty
            for parameter in inspect.signature(SYSTEMS.load(name)).parameters.values()
        )
    ]


def takes_long(benchmark):
    """Whether a benchmark trains something for more than a few seconds."""
    return benchmark.endswith("-cnn") or BENCHMARKS.load(benchmark).protocol == "timetotrain"


def some_samples(task):
    """Up to 32 sample indices, spread over the data set and out of order."""
    every = np.linspace(0, len(task) - 1, min(SOME, len(task))).astype(np.int64)
    return np.unique(every)[::-1]


def task_for(system_name):
    """The task of the first benchmark that is measured on this system by default, or one with every model."""
    declared = [BENCHMARKS.load(name) for name in measured_by("load")]
    chosen = [benchmark for benchmark in declared if benchmark.default_system == system_name]
    return TASKS.load(chosen[0].task if chosen else "mobile-classification")()


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_a_benchmark_declares_parts_that_exist_and_can_be_written_down(name):
    declared = BENCHMARKS.load(name)
    assert isinstance(declared, Benchmark)
    assert declared.name == name
    assert declared.title
    assert declared.specification
    assert declared.task in TASKS
    assert declared.protocol in PROTOCOLS
    assert declared.default_system in SYSTEMS
    assert declared.quality.metric == TASKS.load(declared.task).metric
    assert Benchmark.model_validate(json.loads(declared.model_dump_json())) == declared


@pytest.mark.parametrize("name", READY_BENCHMARKS)
def test_a_benchmark_accepts_its_own_defaults(name):
    declared = BENCHMARKS.load(name)
    protocol = PROTOCOLS.load(declared.protocol)
    protocol.prepare(declared, TASKS.load(declared.task)(), protocol.options())


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS.names()) - set(READY_BENCHMARKS)))
def test_a_benchmark_of_data_that_a_person_brings_says_which_and_how(tmp_path, name):
    with pytest.raises(DataError, match="--data"):
        gnomon.run(name, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if takes_long(name) else ())
        for name in READY_BENCHMARKS
    ],
)
@pytest.mark.timeout(600)
def test_a_benchmark_reaches_its_quality_on_its_default_system_and_checks_out(tmp_path, name):
    run = gnomon.run(name, out=tmp_path, **SHORTEST[BENCHMARKS.load(name).protocol])
    assert run.status == "complete"
    assert run.verdict.valid, run.verdict.failures
    assert not run.verdict.comparable  # quick rules never are
    again = check(Run.open(run.path).path)
    assert again.fine
    assert again.results == run.result


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_protocol_carries_its_registered_name_and_refuses_unknown_options(name):
    protocol = PROTOCOLS.load(name)
    assert isinstance(protocol, Protocol)
    assert protocol.name == name
    assert protocol.options.model_config["extra"] == "forbid"
    assert isinstance(protocol.profile(protocol.options()), str)


@pytest.mark.parametrize("name", READY_TASKS)
def test_a_task_has_a_name_a_metric_and_a_fingerprinted_source(name):
    task = TASKS.load(name)()
    assert isinstance(task, Task)
    assert task.name == name
    assert task.metric
    assert len(task) > 0
    source = task.source()
    assert isinstance(source, DataSource)
    assert source.name
    assert isinstance(source.official, bool)
    assert source.sha256 == TASKS.load(name)().source().sha256


@pytest.mark.parametrize("name", READY_TASKS)
def test_a_task_gives_one_input_a_sample_in_the_order_asked_for(name):
    task = TASKS.load(name)()
    asked = some_samples(task)
    inputs = task.inputs(asked)
    assert len(inputs) == len(asked)
    for place in (0, len(asked) - 1):
        np.testing.assert_array_equal(task.inputs(asked[place : place + 1])[0], inputs[place])
    np.testing.assert_array_equal(task.inputs(asked)[0], inputs[0])  # twice the same


@pytest.mark.parametrize("name", ready_systems())
def test_a_system_can_be_described_before_it_is_loaded_and_closed_without_it(name):
    system = SYSTEMS.load(name)()
    assert system.name == name
    assert SYSTEMS.load(name).__doc__.strip()
    assert json.loads(json.dumps(system.describe())) == system.describe()
    system.close()


@pytest.mark.parametrize("name", ready_systems(System))
def test_a_system_answers_every_sample_in_order_whole_or_in_parts(name):
    task = task_for(name)
    asked = some_samples(task)
    system = SYSTEMS.load(name)()
    system.load(task, np.sort(asked))
    try:
        assert system.max_batch_size >= 1
        whole = system.predict(asked)
        assert len(whole) == len(asked)
        for place in (0, len(asked) // 2, len(asked) - 1):
            alone = system.predict(asked[place : place + 1])
            np.testing.assert_allclose(alone[0], whole[place], rtol=1e-4, atol=1e-5)
        json.dumps(system.describe())
    finally:
        system.close()


@pytest.mark.parametrize("name", ready_systems(System))
def test_a_system_may_be_loaded_again_with_other_samples(name):
    task = task_for(name)
    asked = some_samples(task)
    system = SYSTEMS.load(name)()
    system.load(task, asked[: SOME // 2])
    system.load(task, asked[SOME // 2 :])
    answers = system.predict(asked[SOME // 2 :])
    assert len(answers) == len(asked[SOME // 2 :])
    system.close()


@pytest.mark.parametrize(
    "name", [name for name in ready_systems(FleetSystem) if SYSTEMS.load(name).virtual_clock]
)
def test_a_simulated_fleet_carries_a_federation_to_its_end(tmp_path, name):
    declared = BENCHMARKS.load("federated-digits")
    options = PROTOCOLS.load("fleet").options(max_rounds=5)
    federation = assemble(declared, TASKS.load(declared.task)(), options)
    server, seen = federation.server("fixed:3,2"), []
    system = SYSTEMS.load(name)()
    system.load(federation, tmp_path)
    system.drive(server, seen.append)
    system.close()
    assert server.ended.reason == "rounds"
    assert seen == [server] * 5
    assert server.ledger.disagreements() == []


@pytest.mark.parametrize("name", sorted(set(measured_by("load")) & set(READY_BENCHMARKS)))
def test_an_answer_survives_the_accuracy_log(name):
    """The score from decoded bytes is the score of the answers themselves."""
    declared = BENCHMARKS.load(name)
    task = TASKS.load(declared.task)()
    system = SYSTEMS.load(declared.default_system)()
    asked = np.arange(min(200, len(task)))
    system.load(task, asked)
    outputs = [system.predict(asked[place : place + 1])[0] for place in range(len(asked))]
    system.close()
    decoded = [task.decode(task.encode(output)) for output in outputs]
    assert task.score(asked, decoded) == pytest.approx(task.score(asked, outputs))
