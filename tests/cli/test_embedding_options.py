"""`gnomon run dlrm --embedding … --compression …`: what is measured, in which order, and compared."""

import json

import numpy as np
import pytest

from gnomon.core.run import Run, find_runs
from gnomon.embedding import RobeLayout
from gnomon.recommend.config import DLRM_SMALL
from gnomon.recommend.untrained import untrained_model
from gnomon.systems import dlrm
from gnomon.tasks.clicks import SYNTHETIC_ROWS

pytest.importorskip("onnx")

PERFORMANCE = ("--quick", "--scenario", "offline", "--no-accuracy")
ACCURACY = ("--no-performance", "--no-report")


def save(folder, layout):
    """An untrained model as `gnomon.recommend.export` lays one out."""
    folder.mkdir()
    made = untrained_model(DLRM_SMALL, layout, (1,) * 26, folder)
    np.savez(folder / "embedding.npz", array=made.array)
    description = {
        "model": DLRM_SMALL.as_dict(),
        "layout": layout.as_dict(),
        "hotness": list(made.hotness),
    }
    (folder / "model.json").write_text(json.dumps(description))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained models by the names under which trained ones ship."""
    folder = tmp_path_factory.mktemp("data")
    save(folder / "dlrm-full", RobeLayout.full(SYNTHETIC_ROWS, 16))
    for factor in (100, 1000):
        layout = RobeLayout.compressed(SYNTHETIC_ROWS, 16, factor, hash="mixer", align=64)
        save(folder / f"dlrm-robe-{factor}x", layout)
    return folder


@pytest.fixture(autouse=True)
def shipped(models, monkeypatch):
    """The untrained models stand where trained ones ship."""
    monkeypatch.setattr(dlrm, "SHIPPED", models)


def test_two_embeddings_are_measured_one_after_the_other_and_compared(run_command, tmp_path):
    asked = ("--embedding", "full", "--embedding", "robe", "--compression", 1000)
    code, text, error = run_command("dlrm", *asked, *PERFORMANCE)
    assert (code, error) == (0, "1 of 2: dlrm full\n2 of 2: dlrm robe\n")
    first, second = (Run.open(folder) for folder in sorted(find_runs(tmp_path / "runs")))
    assert first.record["asked_system"]["options"] == {"embedding": "full"}
    assert second.record["asked_system"]["options"] == {"embedding": "robe", "compression": 1000}
    described = [run.record["system"]["description"] for run in (first, second)]
    assert [said["embedding"] for said in described] == ["full", "robe"]
    assert described[1]["compression"] == pytest.approx(1000, rel=0.01)
    words = " ".join(text.split())
    for part in ("A dlrm embedding=full", "B dlrm embedding=robe compression=1000", "B against A"):
        assert part in words
    assert words.count("VALID under quick rules") >= 2
    for run in (first, second):
        assert run.path.name in text
    report = second.path / "report.html"
    assert f"runs/{second.path.name}/report.html" in text
    page = report.read_text(encoding="utf-8")
    assert first.id in page
    assert second.id in page
    assert not (first.path / "report.html").exists()


def test_json_of_two_embeddings_is_a_list_and_one_that_is_not_valid_makes_the_exit_code_1(
    run_command,
):
    code, text, error = run_command(
        "dlrm", "--embedding", "robe", "--embedding", "full", *ACCURACY, "--json"
    )
    assert (code, error) == (1, "1 of 2: dlrm robe\n2 of 2: dlrm full\n")  # nobody trained them
    said = json.loads(text)
    assert [Run.open(each["path"]).result for each in said] == [each["result"] for each in said]
    kinds = [Run.open(each["path"]).record["system"]["description"]["model"] for each in said]
    assert kinds == ["dlrm-robe-100x", "dlrm-full"]
    assert [each["report"] for each in said] == [None, None]


@pytest.mark.parametrize(
    ("asked", "model", "options"),
    [
        ((), "dlrm-robe-100x", {}),
        (("--embedding", "full"), "dlrm-full", {"embedding": "full"}),
        (("--compression", 1000), "dlrm-robe-1000x", {"compression": 1000}),
    ],
    ids=str,
)
def test_one_embedding_is_one_run_and_json_of_it_one_object(run_command, asked, model, options):
    code, text, error = run_command("dlrm", *asked, *ACCURACY, "--json")
    assert (code, error) == (1, "")
    run = Run.open(json.loads(text)["path"])
    assert run.record["system"]["description"]["model"] == model
    assert run.record["asked_system"] == {"name": "dlrm", "options": options}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dlrm", "--embedding", "hashed"), "embedding must be robe or full, got 'hashed'"),
        (("dlrm", "--compression", 7), "compression 7 ships: choose from 100, 1000, or train one"),
        (("dlrm", "--embedding", "robe", "--compression", 7), "no ROBE model of compression 7"),
        (("dlrm", "--compression", "ten"), "--compression"),
        (
            ("dlrm", "--model", "mine", "--embedding", "robe"),
            "a model of your own has its embedding",
        ),
        (("dlrm", "--model", "mine", "--compression", 100), "leave embedding and compression out"),
        (("digits", "--embedding", "robe"), "unknown option of system 'onnx': 'embedding'"),
        (("digits", "--compression", 10), "unknown option of system 'onnx': 'compression'"),
        (
            ("dlrm", "--system", "null", "--embedding", "robe"),
            "option of system 'null': 'embedding'",
        ),
        # These fail: one is measured before the next is looked at, and 0 is taken for none given.
        (
            ("dlrm", "--embedding", "full", "--embedding", "robe", "--compression", 7),
            "no ROBE model of compression 7",
        ),
        (("dlrm", "--embedding", "robe", "--embedding", "hashed"), "got 'hashed'"),
        (("dlrm", "--compression", 0), "no ROBE model of compression 0 ships"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_before_anything_is_measured(run_command, tmp_path, arguments, words):
    code, text, error = run_command(*arguments, *ACCURACY)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1
    assert text == ""
    assert not (tmp_path / "runs").exists()


def test_the_models_that_ship_are_valid_and_compared_by_their_quality(command, tmp_path):
    for name in ("dlrm-full", "dlrm-robe-100x"):
        if not (dlrm.SHIPPED / name / "model.json").is_file():
            pytest.skip(f"{name} does not ship yet")
    done = command(
        *("run", "dlrm", "--embedding", "full", "--embedding", "robe", *ACCURACY), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "1 of 2: dlrm full\n2 of 2: dlrm robe\n")
    words = " ".join(done.stdout.split())
    assert words.count("AUC 0.83") >= 2
    assert "B against A" in words
    full, robe = (Run.open(folder) for folder in sorted(find_runs(tmp_path / "runs")))
    assert full.result["accuracy"]["quality"] > robe.result["accuracy"]["quality"]
