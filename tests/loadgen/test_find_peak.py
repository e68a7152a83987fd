"""The search for the highest valid Server rate, over systems whose peak is known.

And the outlook that lets it give up on a test early: never on one that could still pass.
"""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import gnomon
from gnomon.core.errors import SystemFault
from gnomon.core.stats import early_stopping_bound, fewest_passing
from gnomon.loadgen.find_peak import (
    LEAST_QPS,
    MOST_CONFIRMATIONS,
    MOST_PROBES,
    PRECISION,
    STEP_DOWN,
    Probe,
    find_peak,
    is_probe,
    probe_name,
)
from gnomon.loadgen.measure import measure
from gnomon.loadgen.samples import SAMPLES_FILE, read_samples
from gnomon.loadgen.server_outlook import hopeless_server, most_over_bound
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Scenario, Settings
from gnomon.loadgen.system import AsynchronousSystem
from gnomon.tasks.digits import Digits

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""

ROUNDING = 1e-3
"""Rates are tried to four significant digits."""


class Synthetic:
    """Probes a system of which `valid(rate, confirm)` says whether a test passes; remembers all."""

    def __init__(self, valid):
        self.valid = valid
        self.asked = []

    def __call__(self, target_qps, confirm):
        self.asked.append((target_qps, confirm))
        passed = self.valid(target_qps, confirm)
        return Probe(target_qps, passed, 1, target_qps, f"probe-{len(self.asked)}", confirm)


def up_to(limit_qps):
    return Synthetic(lambda rate, confirm: rate <= limit_qps)


def require_within_stated_probes(probes):
    assert len([probe for probe in probes if not probe.confirmation]) <= MOST_PROBES
    assert 1 <= len([probe for probe in probes if probe.confirmation]) <= MOST_CONFIRMATIONS


# --- the search -------------------------------------------------------------------------------------

rates = st.floats(min_value=1.0, max_value=1e6)


@patiently
@given(start_qps=rates, limit_qps=rates)
def test_the_peak_is_found_within_the_precision_from_any_start(start_qps, limit_qps):
    system = up_to(limit_qps)
    peak, probes = find_peak(start_qps, system)
    assert peak.valid
    assert peak.confirmation
    assert peak.target_qps <= limit_qps
    assert peak.target_qps * (1 + PRECISION) * (1 + ROUNDING) > limit_qps
    assert probes[-1] == peak
    require_within_stated_probes(probes)


@patiently
@given(start_qps=rates, limit_qps=rates)
def test_every_probe_is_returned_in_order_and_the_peak_was_tried_before_it_was_confirmed(
    start_qps, limit_qps
):
    system = up_to(limit_qps)
    peak, probes = find_peak(start_qps, system)
    assert [(probe.target_qps, probe.confirmation) for probe in probes] == system.asked
    assert [probe.confirmation for probe in probes] == sorted(p.confirmation for p in probes)
    tried = {probe.target_qps: probe.valid for probe in probes if not probe.confirmation}
    assert tried[peak.target_qps]
    assert all(rate > peak.target_qps for rate, valid in tried.items() if not valid)


@patiently
@given(start_qps=rates, limit_qps=rates)
def test_no_rate_is_tried_twice_before_confirming(start_qps, limit_qps):
    _, probes = find_peak(start_qps, up_to(limit_qps))
    searched = [probe.target_qps for probe in probes if not probe.confirmation]
    assert len(set(searched)) == len(searched)


@patiently
@given(start_qps=rates, limit_qps=rates)
def test_a_rate_has_four_significant_digits_so_that_a_person_can_repeat_it(start_qps, limit_qps):
    _, probes = find_peak(start_qps, up_to(limit_qps))
    assert all(probe.target_qps == float(f"{probe.target_qps:.4g}") for probe in probes)


@patiently
@given(
    start_qps=st.floats(min_value=1.0, max_value=1e6),
    limit_qps=rates,
    precision=st.sampled_from([0.2, 0.05, 0.01]),
)
def test_a_wider_precision_takes_fewer_probes(start_qps, limit_qps, precision):
    start_qps = limit_qps * 2 ** (start_qps % 3 - 1)
    peak, probes = find_peak(start_qps, up_to(limit_qps), precision)
    assert peak.target_qps * (1 + precision) * (1 + ROUNDING) > limit_qps
    assert len(probes) <= 3 + np.ceil(np.log2(np.log(2) / np.log1p(precision))) + 1


@pytest.mark.parametrize("limit_qps", [1e-3 + LEAST_QPS, 0.12, 0.15, 0.199])
@pytest.mark.parametrize("start_qps", [0.3, 1.0, 777.0])
def test_a_peak_that_is_just_above_the_least_rate_is_found_too(start_qps, limit_qps):
    peak, _ = find_peak(start_qps, up_to(limit_qps))
    assert peak.valid
    assert LEAST_QPS <= peak.target_qps <= limit_qps


@pytest.mark.parametrize("start_qps", [1e10, 1e12])
def test_a_start_that_is_far_too_high_still_leads_to_the_peak(start_qps):
    peak, probes = find_peak(start_qps, up_to(5.0))
    assert peak.valid
    assert 4.8 < peak.target_qps <= 5.0
    require_within_stated_probes(probes)


@pytest.mark.parametrize("start_qps", [LEAST_QPS, 1.0, 1e3, 1e6])
def test_a_system_that_is_never_valid_is_told_so_with_the_lowest_rate_tried(start_qps):
    system = Synthetic(lambda rate, confirm: False)
    with pytest.raises(SystemFault) as caught:
        find_peak(start_qps, system)
    lowest = min(rate for rate, _ in system.asked)
    assert f"no valid Server rate found down to {lowest:.3g}" in str(caught.value)
    assert "raise --target-latency or use a faster system" in str(caught.value)
    assert not any(confirm for _, confirm in system.asked)
    assert len(system.asked) <= MOST_PROBES
    assert lowest < 2 * LEAST_QPS


def test_a_system_without_any_limit_stops_at_the_stated_probes():
    peak, probes = find_peak(1.0, Synthetic(lambda rate, confirm: True))
    require_within_stated_probes(probes)
    assert peak.valid
    assert peak.target_qps == max(probe.target_qps for probe in probes)


@patiently
@given(
    start_qps=rates,
    limit_qps=rates,
    answers=st.lists(st.booleans(), min_size=40, max_size=40),
    noise=st.sampled_from([0.05, 0.5, 1.0]),
)
def test_noisy_validity_never_costs_more_than_the_stated_probes_or_returns_an_unconfirmed_rate(
    start_qps, limit_qps, answers, noise
):
    """Near the limit, a test passes or fails by chance."""
    chance = iter(answers)

    def valid(rate, confirm):
        if abs(rate / limit_qps - 1) < noise:
            return next(chance)
        return rate <= limit_qps

    try:
        peak, probes = find_peak(start_qps, Synthetic(valid))
    except SystemFault:
        return
    require_within_stated_probes(probes)
    assert probes[-1] == peak
    assert peak.confirmation
    valid_rates = [probe.target_qps for probe in probes if probe.valid and not probe.confirmation]
    assert peak.target_qps <= max(valid_rates)


@pytest.mark.parametrize("failing", range(MOST_CONFIRMATIONS + 1))
def test_confirming_steps_down_until_a_full_test_is_valid(failing):
    confirmations = []

    def valid(rate, confirm):
        if confirm:
            confirmations.append(rate)
            return len(confirmations) > failing
        return rate <= 1000

    peak, probes = find_peak(900.0, Synthetic(valid))
    searched = max(probe.target_qps for probe in probes if probe.valid and not probe.confirmation)
    expected = searched * STEP_DOWN ** np.arange(min(failing + 1, MOST_CONFIRMATIONS))
    np.testing.assert_allclose(confirmations, expected, rtol=ROUNDING)
    assert peak.target_qps == confirmations[-1]
    assert peak.valid == (failing < MOST_CONFIRMATIONS)  # none valid: said so, never passed off


def test_what_a_probe_raises_ends_the_search():
    def broken(rate, confirm):
        raise SystemFault("the board was unplugged")

    with pytest.raises(SystemFault, match="unplugged"):
        find_peak(10.0, Synthetic(broken))


def test_the_names_of_probes_are_told_from_those_of_scenarios():
    names = [probe_name(number) for number in (0, 7, 34)]
    assert names == ["server-probe-00", "server-probe-07", "server-probe-34"]
    assert all(is_probe(name) for name in names)
    assert not any(is_probe(name) for name in (*Scenario, "accuracy"))


# --- how many may miss ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_the_most_that_may_miss_the_bound_is_that_of_trying_every_number(share):
    needed = [fewest_passing(over, share) + over for over in range(60)]
    most = 0
    for queries in range(1, min(needed[-1], 4000)):
        while needed[most + 1] <= queries:
            most += 1
        assert most_over_bound(queries, share) == most


@patiently
@given(queries=st.integers(1, 10**7), share=st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_one_more_over_the_bound_than_may_be_fails_early_stopping(queries, share):
    most = most_over_bound(queries, share)
    assert not early_stopping_bound(most + 1, queries, share).met
    if queries >= fewest_passing(0, share):
        assert early_stopping_bound(most, queries, share).met


# --- hopeless or not --------------------------------------------------------------------------------

BOUND_NS = 1000
SHARE = 0.9


def server_settings(**changes):
    chosen = {
        "scenario": Scenario.SERVER,
        "total_sample_count": 797,
        "performance_sample_count": 797,
        "target_qps": 1000.0,
        "target_latency_ns": BOUND_NS,
        "target_latency_percentile": SHARE,
    }
    return Settings(**(chosen | changes))


def session_at(elapsed_ns, due_ns, latency_ns):
    """A session as it looks after so long: what was answered by then is in the journal."""
    done_ns = due_ns + latency_ns
    completed_ns = np.where((latency_ns > 0) & (done_ns <= elapsed_ns), done_ns, 0)
    order = SimpleNamespace(
        query_count=len(due_ns), arrivals_ns=lambda start, stop: due_ns[start:stop]
    )
    return SimpleNamespace(order=order, journal=SimpleNamespace(completed_ns=completed_ns))


@patiently
@given(data=st.data(), queries=st.integers(22, 250), miss_share=st.floats(0, 0.3))
def test_a_test_is_called_hopeless_only_if_it_fails_however_it_goes_on(data, queries, miss_share):
    seed = data.draw(st.integers(0, 2**32 - 1))
    draw = np.random.default_rng(seed)
    due_ns = np.cumsum(draw.integers(0, 300, queries))
    latency_ns = np.where(
        draw.random(queries) < miss_share,
        draw.integers(BOUND_NS + 1, 5 * BOUND_NS, queries),
        draw.integers(1, BOUND_NS + 1, queries),
    )
    latency_ns[draw.random(queries) < miss_share / 4] = 0  # never answered
    over = int(np.count_nonzero((latency_ns > BOUND_NS) | (latency_ns == 0)))
    met = early_stopping_bound(over, queries, SHARE).met
    judge = hopeless_server(server_settings())
    looks = np.sort(draw.integers(0, int(due_ns[-1]) + 7 * BOUND_NS, 8))
    said = [
        judge(session_at(int(at), due_ns, latency_ns), int(at))
        for at in (*looks, due_ns[-1] + 7 * BOUND_NS)
    ]
    if met:
        assert said == [None] * len(said)
    else:
        # At the end all are decided; only a test with too few queries to pass at all says nothing.
        assert said[-1] is not None or over <= most_over_bound(queries, SHARE)
        told = [words is not None for words in said]
        assert told == sorted(told)  # once hopeless, always


def test_a_hopeless_test_is_told_how_many_missed_and_how_many_may():
    due_ns = np.arange(100) * 10
    judge = hopeless_server(server_settings())
    latency_ns = np.full(100, 2 * BOUND_NS)
    assert judge(session_at(BOUND_NS, due_ns, latency_ns), BOUND_NS) is None
    words = judge(session_at(BOUND_NS + 55, due_ns, latency_ns), BOUND_NS + 55)
    most = most_over_bound(100, SHARE)
    assert words == (
        f"stopped early: 6 of the first 6 queries missed 1.00 µs, and at most {most} of 100 may"
    )


def test_a_query_whose_bound_has_just_run_out_is_not_yet_held_against_the_test():
    due_ns = np.zeros(100, dtype=np.int64)
    judge = hopeless_server(server_settings())
    never = np.zeros(100, dtype=np.int64)
    assert judge(session_at(BOUND_NS, due_ns, never), BOUND_NS) is None
    assert judge(session_at(BOUND_NS + 1, due_ns, never), BOUND_NS + 1) is not None


class Backlog(AsynchronousSystem):
    """Answers 500 a second in the order they came, from a thread of its own."""

    name = "backlog"

    def __init__(self):
        self.queries = []
        self.arrived = threading.Semaphore(0)
        self.closed = False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def load(self, task, samples):
        pass

    def issue(self, query):
        self.queries.append(query)
        self.arrived.release()

    def work(self):
        while True:
            self.arrived.acquire()
            if self.closed:
                return
            time.sleep(0.002)
            query = self.queries.pop(0)
            query.complete(query.samples)

    def close(self):
        self.closed = True
        self.arrived.release()
        self.thread.join()


@pytest.fixture
def backlog():
    """An asynchronous system that falls behind, stopped at the end."""
    system = Backlog()
    yield system
    system.close()


def hopeless_test(system, folder):
    """A Server test at twice what the system can do, stopped as hopeless."""
    settings = server_settings(target_latency_ns=20 * NS_PER_MS, min_duration_ns=2 * NS_PER_S)
    measured = measure(system, Digits(), settings, folder, hopeless=hopeless_server(settings))
    assert [fault.kind for fault in measured.faults] == ["hopeless"]
    assert measured.faults[0].message.startswith("stopped early: ")
    return measured


def test_a_hopeless_test_is_stopped_long_before_its_end(tmp_path, backlog):
    measured = hopeless_test(backlog, tmp_path)
    assert measured.samples.answered.any()
    assert measured.samples.scheduled_ns[-1] < 2 * NS_PER_S


def test_a_stopped_test_hands_back_the_samples_that_it_wrote(tmp_path, backlog):
    """Answers that come afterwards must not make the result disagree with the raw samples."""
    measured = hopeless_test(backlog, tmp_path)
    written = read_samples(tmp_path / SAMPLES_FILE)
    time.sleep(0.1)  # the system goes on answering what it was given
    np.testing.assert_array_equal(measured.samples.completed_ns, written.completed_ns)


def test_a_stopped_test_lets_the_system_finish_so_that_the_next_probe_finds_it_idle(
    tmp_path, backlog
):
    hopeless_test(backlog, tmp_path)
    assert backlog.queries == []


def test_a_fault_that_no_lower_rate_can_mend_ends_the_search(tmp_path):
    """At ever lower rates a probe takes ever longer: 459 queries at 0.1 a second are over an hour."""

    def not_a_number(images):
        return np.full((len(images), 10), np.nan, dtype=np.float32)

    def stop_at_a_lower_rate(progress):
        assert not progress.measurement.startswith(probe_name(2))

    run = gnomon.run(
        "digits",
        system=not_a_number,
        scenario="server",
        target_qps=400,
        find_peak=True,
        quick=True,
        accuracy=False,
        observer=stop_at_a_lower_rate,
        out=tmp_path,
    )
    assert not run.verdict.valid
    assert any("NaN" in failed.why for failed in run.verdict.failures)
