"""Run modes: a benchmark's own rules in place of quick and official; its seeds, cooldown and conditions."""

import pytest

import gnomon
from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.loadgen.options import LoadOptions, planned_tests
from gnomon.loadgen.settings import NS_PER_S
from gnomon.results.check import check
from gnomon.systems.null import NullSystem
from gnomon.tasks.digits import Digits
from tests.loadgen.small_mobile import SEEDS, SMALL


def planned(**options):
    return {
        name: test.settings
        for name, test in planned_tests(SMALL, Digits(), LoadOptions(**options)).items()
    }


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    return gnomon.run(SMALL, out=tmp_path_factory.mktemp("runs"))


def test_a_stream_test_has_the_counts_and_bounds_of_its_mode():
    stream = planned()["single-stream"]
    assert stream.min_query_count == 70
    assert stream.min_duration_ns == NS_PER_S // 5
    assert stream.max_duration_ns == 30 * NS_PER_S
    assert planned(rules="submission")["single-stream"].min_query_count == 100


def test_an_offline_test_asks_for_samples_and_for_no_time():
    offline = planned()["offline"]
    assert offline.min_query_count == 500
    assert offline.min_duration_ns == offline.max_duration_ns == 0


def test_the_seeds_are_the_benchmarks_own_in_every_mode():
    for rules in ("quick", "submission"):
        assert {settings.seeds for settings in planned(rules=rules).values()} == {SEEDS}


def test_an_official_mode_prescribes_the_seeds_and_a_quick_one_does_not():
    assert planned(seeds="1,2,3")["single-stream"].seeds.qsl == 1
    with pytest.raises(SettingsError, match="the seeds of the benchmark: leave out --seeds"):
        planned(rules="submission", seeds="1,2,3")


def test_rules_that_a_benchmark_does_not_have_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="submission"):
        planned(rules="submision")
    with pytest.raises(UnknownNameError, match="official"):
        planned(rules="official")


def test_whoever_asks_for_more_time_than_the_bound_gets_it():
    assert planned(duration_s=40)["single-stream"].max_duration_ns == 0


def test_a_test_shorter_than_the_mode_is_refused():
    with pytest.raises(SettingsError, match=r"at least 0\.2 s"):
        planned(duration_s=0.1)


def test_a_quick_run_is_valid_rests_between_tests_and_checks_out(quick_run):
    assert quick_run.verdict.valid, quick_run.verdict.failures
    assert quick_run.verdict.remark.startswith("not comparable with published results: quick rules")
    stored = quick_run.measurements
    first_s = stored["single-stream"]["conditions"]["cooldown_s"]
    assert first_s is None or first_s >= 0.3  # of another run's test, if this process had one
    assert stored["offline"]["conditions"]["cooldown_s"] >= 0.3
    assert check(quick_run.path).fine


def test_a_second_run_rests_after_the_first(quick_run, tmp_path):
    again = gnomon.run(SMALL, out=tmp_path, scenario="single-stream", accuracy=False)
    assert again.measurements["single-stream"]["conditions"]["cooldown_s"] >= 0.3


def test_a_shorter_rest_than_the_mode_asks_for_is_held_against_the_run(tmp_path):
    run = gnomon.run(SMALL, out=tmp_path, cooldown_s=0.0, accuracy=False)
    assert {failure.name for failure in run.verdict.failures} == {"cooldown"}
    assert "offline" in {failure.measurement for failure in run.verdict.failures}
    assert "0.3 s before each test" in run.verdict.failures[0].required


def test_conditions_that_were_edited_are_found(quick_run):
    path = quick_run.path / "run.json"
    whole = path.read_text()
    try:
        path.write_text(whole.replace('"hidden_ms": 0.0', '"hidden_ms": 700.0', 1))
        report = check(quick_run.path)
        assert not report.fine
        assert any("uninterrupted" in words or "INVALID" in words for words in report.disagreements)
        path.write_text(whole.replace('"hidden_ms": 0.0', '"hidden_ms": "long"', 1))
        with pytest.raises(gnomon.GnomonError, match="conditions on record are damaged"):
            check(quick_run.path)
    finally:
        path.write_text(whole)


def test_a_system_may_say_nothing_of_itself(tmp_path):
    class Silent(NullSystem):
        def describe(self):
            return None

    run = gnomon.run(SMALL, system=Silent(), accuracy=False, out=tmp_path)
    assert run.verdict.valid
    assert check(run.path).fine


def test_a_mode_that_asks_for_an_idle_machine_has_its_check_in_a_native_run(tmp_path):
    asking = [mode | {"most_others_share": 1.0} for mode in SMALL.settings["run_modes"]]
    benchmark = SMALL.model_copy(update={"settings": SMALL.settings | {"run_modes": asking}})
    run = gnomon.run(benchmark, out=tmp_path)
    idle = [check for check in run.verdict.checks if check.name == "idle_machine"]
    assert {check.measurement for check in idle} == {"single-stream", "offline"}
    assert all(check.passed and "other programs took" in check.found for check in idle)
