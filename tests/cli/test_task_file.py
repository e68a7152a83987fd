"""`gnomon run NAME --task-file FILE`: a benchmark that a person describes, measured as any other."""

import json

import pytest

OWN = """
[strict-digits]
base = "mobile-classification"
title = "Digits for a product"
quality = 0.9
min_query_count = 64
min_duration_s = 0.5
offline_min_sample_count = 200
cooldown_s = 0.1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path


def test_a_benchmark_of_ones_own_is_run_and_checks_out(command, folder):
    done = command(
        "run", "strict-digits", "--task-file", "mine.toml", "--no-report", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"]["valid"]
    assert "not a registered benchmark" in told["verdict"]["remark"]
    checked = command("check", "latest", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_another_name_is_answered_with_the_nearest(command, folder):
    done = command("run", "strict-digit", "--task-file", "mine.toml", cwd=folder)
    assert done.returncode == 2
    assert "did you mean 'strict-digits'" in done.stderr
    assert not (folder / "runs").exists()


def test_a_key_that_means_nothing_is_named(command, folder):
    (folder / "mine.toml").write_text(OWN.replace("quality", "qualitty"))
    done = command("run", "strict-digits", "--task-file", "mine.toml", cwd=folder)
    assert done.returncode == 2
    assert "qualitty" in done.stderr
    assert "quality" in done.stderr


def test_a_shorter_rest_makes_a_run_semi_valid_and_not_valid(command, folder):
    (folder / "mine.toml").write_text(OWN.replace("cooldown_s = 0.1", "cooldown_s = 2"))
    done = command(
        *("run", "strict-digits", "--task-file", "mine.toml", "--cooldown", "0.1"),
        *("--no-accuracy", "--no-report"),
        cwd=folder,
    )
    assert done.returncode == 1
    assert "cooldown" in done.stdout
    results = command("mobile", "results", "--json", cwd=folder)
    assert {row["grade"] for row in json.loads(results.stdout)["results"]} == {"semi-valid"}


def test_cooldown_means_nothing_to_a_benchmark_that_is_no_load_test(command, folder):
    done = command("run", "kws", "--cooldown", "1", cwd=folder)
    assert done.returncode == 2
    assert "--cooldown means nothing for 'kws'" in done.stderr
