"""The session that a training loop reports to, in whole campaigns of loops right and wrong."""

import json
import time

import numpy as np
import pytest

import gnomon
from gnomon.core import clocks
from gnomon.core.errors import SettingsError, UsageError
from gnomon.results.check import check
from tests.timetotrain import loops

SEED = 3


def campaign(loop, tmp_path, runs=3, **changed):
    options = {name: changed.pop(name) for name in ("rules",) if name in changed}
    return gnomon.run(
        loops.benchmark(**changed), system=loop, runs=runs, seed=SEED, out=tmp_path, **options
    )


def failures(run):
    return {each.name: each.why for each in run.verdict.failures}


def changed_loop(**methods):
    """The right loop, on a session of which some methods are others."""

    def loop(run):
        for name, make in methods.items():
            setattr(run, name, make(run, getattr(run, name)))
        loops.train(run)

    return loop


def test_a_loop_as_it_should_be_is_valid_and_can_be_recomputed(tmp_path):
    run = campaign(loops.train, tmp_path)
    assert run.verdict.valid, failures(run)
    assert not run.verdict.comparable
    found = check(run.path)
    assert found.fine, found.disagreements
    traces = run.samples["time-to-train"]
    assert [trace.reason for trace in traces] == ["target"] * 3
    assert all(trace.evaluations[-1].quality >= loops.TARGET for trace in traces)
    assert all(trace.evaluations[-2].quality < loops.TARGET for trace in traces)
    assert all(trace.reevaluated == trace.quality for trace in traces)


def test_the_same_seed_gives_the_same_runs_and_another_gives_others(tmp_path):
    def course(run):
        return [
            [(each.samples, each.quality) for each in trace.evaluations]
            for trace in run.samples["time-to-train"]
        ]

    first, again = (campaign(loops.train, tmp_path / str(place)) for place in (1, 2))
    assert course(first) == course(again)
    other = gnomon.run(loops.benchmark(), system=loops.train, runs=3, seed=4, out=tmp_path)
    assert course(other) != course(first)


def test_a_seed_that_nobody_chose_is_on_record(tmp_path):
    one, other = (
        gnomon.run(loops.benchmark(), system=loops.train, runs=3, out=tmp_path) for _ in range(2)
    )
    seeds = [run.measurements["time-to-train"]["settings"]["seed"] for run in (one, other)]
    assert seeds[0] != seeds[1]
    assert [trace.seed for trace in one.samples["time-to-train"]] != [
        trace.seed for trace in other.samples["time-to-train"]
    ]


def test_data_that_is_read_before_the_clock_starts_fails(tmp_path):
    def loop(run):
        run.inputs(run.trained_on)
        loops.train(run)

    why = failures(campaign(loop, tmp_path))["data_before_clock"]
    assert "before the clock started: call run.start() first" in why


def test_a_loop_that_evaluates_on_training_data_is_found_out(tmp_path):
    def report(run, _):
        def evaluate(answer):
            samples = run.trained_on
            quality = np.mean(answer(samples) == run.targets(samples))
            return run.report(quality, samples=samples)

        return evaluate

    found = failures(campaign(changed_loop(evaluate=report), tmp_path))
    assert "was evaluated on 1,437 samples it trains on" in found["held_out"]
    assert "its checkpoint has" in found["quality_reproduced"]


def test_a_loop_that_leaves_hard_samples_out_is_found_out(tmp_path):
    def report(run, _):
        def evaluate(answer):
            samples = run.held_out[:100]
            return run.report(
                float(np.mean(answer(samples) == run.targets(samples))), samples=samples
            )

        return evaluate

    found = failures(campaign(changed_loop(evaluate=report), tmp_path))
    assert "was not evaluated on 260 held-out samples" in found["held_out"]


def test_a_loop_may_evaluate_itself_if_it_says_on_what(tmp_path):
    def report(run, _):
        def evaluate(answer):
            samples = run.held_out
            answers = answer(samples)
            quality = float(np.mean(answers == run.targets(samples)))
            return run.report(quality, samples=samples, answers=answers)

        return evaluate

    run = campaign(changed_loop(evaluate=report), tmp_path)
    assert run.verdict.valid, failures(run)


def test_a_quality_that_the_answers_do_not_have_is_found_out(tmp_path):
    def report(run, _):
        def evaluate(answer):
            return run.report(0.95, samples=run.held_out, answers=answer(run.held_out))

        return evaluate

    found = failures(campaign(changed_loop(evaluate=report), tmp_path))
    assert "its answers score" in found["quality_recomputed"]
    assert "logged 0.9500, and its checkpoint has" in found["quality_reproduced"]


def test_a_checkpoint_of_another_model_is_found_out(tmp_path):
    def keep(run, keep):
        def keep_another(save, restore):
            del save
            other = loops.SoftmaxRegression(run.seed, 0.0)
            keep(lambda path: loops.save(other, path), restore)

        return keep_another

    found = failures(campaign(changed_loop(keep=keep), tmp_path))
    assert (
        "the model that was evaluated is not the one that was kept" in found["quality_reproduced"]
    )


def test_official_rules_want_a_checkpoint_and_all_runs(tmp_path):
    def keep(run, _):
        return lambda save, restore: None

    run = campaign(changed_loop(keep=keep), tmp_path, rules="official")
    found = failures(run)
    assert "run.keep" in found["quality_reproduced"]
    assert found["runs"] == "--runs 5, or resume the campaign"
    assert "quality_reproduced" not in failures(campaign(changed_loop(keep=keep), tmp_path / "q"))


def test_a_loop_that_never_evaluates_is_told_so_at_once(tmp_path):
    def loop(run):
        run.evaluate = lambda answer: False
        loops.train(run)

    run = campaign(loop, tmp_path)
    assert run.status == "aborted"
    assert (
        "call run.evaluate(...) whenever run.step(...) returns True"
        in run.record["aborted_because"]
    )


def test_a_loop_that_counts_no_steps_is_told_so(tmp_path):
    def loop(run):
        run.start()
        for _ in run.epochs():
            pass

    run = campaign(loop, tmp_path)
    assert "without run.step(loss)" in run.record["aborted_because"]


def test_a_loop_that_does_not_start_the_clock_is_told_so(tmp_path):
    def loop(run):
        for _ in run.epochs():
            pass

    run = campaign(loop, tmp_path)
    assert "call run.start() before data is touched" in run.record["aborted_because"]


def test_a_loop_that_evaluates_when_it_likes_is_found_out(tmp_path):
    def eager(run, step):
        def always(loss):
            step(loss)
            return True

        return always

    found = failures(campaign(changed_loop(step=eager), tmp_path))
    assert "evaluation 1 was after 64 samples, due after 320" in found["evaluation_schedule"]


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    def diverging(run, step):
        return lambda loss: step(float("nan"))

    run = campaign(changed_loop(step=diverging), tmp_path)
    assert [trace.reason for trace in run.samples["time-to-train"]] == ["diverged"] * 2
    assert "no longer finite" in failures(run)["converged"]
    assert run.result["time-to-train"]["metric"]["value"] is None


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ({"max_epochs": 0.5}, "epochs"),
        ({"patience": 1, "target": 0.99, "max_epochs": 500.0}, "patience"),
        ({"max_duration_s": 1e-6}, "duration"),
    ],
)
def test_hopeless_runs_are_bounded_and_the_campaign_gives_up_when_no_result_can_come(
    tmp_path, bound, reason
):
    run = campaign(loops.train, tmp_path, runs=5, **bound)
    traces = run.samples["time-to-train"]
    assert [trace.reason for trace in traces] == [reason] * 2  # one may be dropped, two may not
    assert run.status == "complete"
    assert "converged" in failures(run)


def test_one_run_that_does_not_converge_is_the_slowest_that_is_dropped(tmp_path):
    begun = []

    def loop(run):
        begun.append(run)
        if len(begun) == 2:
            run._target = run._target.model_copy(update={"reference": 2.0})
        loops.train(run)

    run = campaign(loop, tmp_path, runs=4)
    assert run.verdict.valid, failures(run)
    durations = [trace.duration_s for trace in run.samples["time-to-train"] if trace.converged]
    assert len(durations) == 3
    kept = sorted(durations)[1:]
    assert run.result["time-to-train"]["metric"]["value"] == pytest.approx(np.mean(kept))


def test_a_loop_that_ignores_its_seed_is_found_out(tmp_path):
    def loop(run):
        class SameSeed:
            seed = 1

            def __getattr__(self, name):
                return getattr(run, name)

        loops.train(SameSeed())

    found = failures(campaign(loop, tmp_path))
    assert "the training loop does not use run.seed" in found["seeds"]


def test_a_clock_that_is_set_back_during_a_run_is_noticed(tmp_path, monkeypatch):
    real = time.time_ns
    begun = []

    def loop(run):
        begun.append(run)
        if len(begun) == 2:
            monkeypatch.setattr(clocks.time, "time_ns", lambda: real() - 3_600_000_000_000)
        loops.train(run)

    found = failures(campaign(loop, tmp_path))
    assert "run 2: the wall clock jumped by 3600" in found["clock"]


def test_a_loop_that_raises_late_costs_its_run_and_not_the_others(tmp_path):
    begun = []

    def loop(run):
        begun.append(run)
        if len(begun) == 2:
            step = run.step

            def failing(loss):
                if run.samples_trained > 640:
                    raise RuntimeError("out of luck")
                return step(loss)

            run.step = failing
        loops.train(run)

    run = campaign(loop, tmp_path, runs=4)
    assert run.verdict.valid, failures(run)
    second = run.samples["time-to-train"][1]
    assert (second.reason, second.why) == ("raised", "RuntimeError: out of luck")


def test_an_interrupted_campaign_goes_on_with_the_next_seed(tmp_path):
    begun = []

    def loop(run):
        begun.append(run.plan.number)
        if len(begun) == 2:
            run.start()
            raise KeyboardInterrupt
        loops.train(run)

    with pytest.raises(KeyboardInterrupt):
        campaign(loop, tmp_path, runs=4)
    (folder,) = tmp_path.iterdir()
    assert gnomon.core.run.Run.open(folder).status == "aborted"
    run = gnomon.resume(folder, system=loop)
    assert begun == [1, 2, 2, 3, 4]
    assert run.verdict.valid, failures(run)
    assert check(run.path).fine
    stored = run.measurements["time-to-train"]
    assert stored["begun_again"] == [2]
    assert (folder / "time-to-train" / "unfinished" / "run-02-1").is_dir()


def test_a_journal_that_was_changed_is_noticed(tmp_path):
    run = campaign(loops.train, tmp_path)
    journal = run.path / "time-to-train" / "run-02" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"reason": "target"', '"reason":  "target"'))
    found = check(run.path)
    assert not found.fine
    assert any("run 2: journal.jsonl is not the file" in words for words in found.disagreements)


def test_hyperparameters_vary_only_as_the_rules_allow(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'opt_base_learning_rate'"):
        gnomon.run(
            loops.benchmark(), system=loops.train, hyperparameters={"opt_base_lr": 1}, out=tmp_path
        )
    run = gnomon.run(
        loops.benchmark(),
        system=loops.train,
        runs=3,
        hyperparameters={"opt_base_learning_rate": 0.7},
        out=tmp_path,
    )
    why = failures(run)["hyperparameter_opt_base_learning_rate"]
    assert "set opt_base_learning_rate to the reference's 0.5" in why


@pytest.mark.parametrize("batch", [0, 1438, 2.5])
def test_a_batch_that_cannot_be_is_refused_before_anything_is_made(tmp_path, batch):
    with pytest.raises(SettingsError, match="from 1 to 1,437"):
        gnomon.run(
            loops.benchmark(),
            system=loops.train,
            hyperparameters={"global_batch_size": batch},
            out=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_a_seed_that_is_used_twice_is_found_out(tmp_path):
    run = campaign(loops.train, tmp_path)
    first, second = (
        run.path / "time-to-train" / f"run-0{number}" / "journal.jsonl" for number in (1, 2)
    )
    seeds = [trace.seed for trace in run.samples["time-to-train"]]
    second.write_text(second.read_text().replace(f'"seed": {seeds[1]}', f'"seed": {seeds[0]}'))
    assert first.exists()
    found = {each.name: each.why for each in check(run.path).verdict.failures}
    assert f"run 2 has seed {seeds[0]}, drawn for it was {seeds[1]}" in found["seeds"]
    assert f"runs 1 and 2 have the same seed, {seeds[0]}" in found["seeds"]


def test_a_clock_that_was_slowed_down_in_the_journal_is_found_out(tmp_path):
    run = campaign(loops.train, tmp_path)
    journal = run.path / "time-to-train" / "run-01" / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in events:
        event["monotonic_ns"] += 3_600_000_000_000
        event["wall_ns"] += 3_600_000_000_000
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    found = {each.name: each.why for each in check(run.path).verdict.failures}
    assert "beyond the time that it was seen running" in found["clock"]


def test_official_rules_count_only_the_median_window_of_more_runs(tmp_path):
    run = campaign(loops.train, tmp_path, runs=7, rules="official")
    assert run.verdict.valid, failures(run)
    result = run.result["time-to-train"]
    first, last = result["window"]
    assert last - first == 4
    quick = campaign(loops.train, tmp_path, runs=7)
    assert quick.result["time-to-train"]["window"] is None
