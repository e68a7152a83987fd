"""A submission scored: a row of every folder, whatever its system descriptions look like."""

import csv
import json

import pytest

from gnomon.core.errors import DataError, UsageError
from gnomon.timetotrain.logs import score_submission, write_rows
from tests.timetotrain.logs.example import write_folder

SYSTEM = {
    "submitter": "an organisation",
    "status": "onprem",
    "number_of_nodes": 2,
    "accelerators_per_node": "4",
    "accelerator_model_name": "a chip",
    "framework": "PyTorch",
}


@pytest.fixture
def organisation(tmp_path):
    root = tmp_path / "organisation"
    write_folder(root / "results" / "two-nodes" / "retinanet")
    write_folder(root / "results" / "one-node" / "retinanet", (10, 11, 12, 13))
    (root / "systems").mkdir()
    (root / "systems" / "two-nodes.json").write_text(json.dumps(SYSTEM))
    (root / "systems" / "one-node.json").write_text("{'submitter': not JSON}")
    return root


def test_every_folder_is_a_row_with_what_its_system_says(organisation):
    one, two = score_submission(organisation).rows
    assert (two.submitter, two.system, two.benchmark) == (
        "an organisation",
        "two-nodes",
        "retinanet",
    )
    assert (two.nodes, two.accelerators, two.accelerator) == ("2", "8", "a chip")
    assert two.minutes == pytest.approx(12, abs=0.01)
    assert (one.minutes, one.runs, one.submitter) == (None, 4, "organisation")
    assert "4 result logs, must be exactly 5" in one.reason


def test_a_description_that_is_no_json_is_a_warning_that_names_the_file(organisation):
    (warning,) = score_submission(organisation).warnings
    assert "one-node.json is not JSON" in warning
    (organisation / "systems" / "one-node.json").write_text("[]")
    assert "holds no JSON object" in score_submission(organisation).warnings[0]
    (organisation / "systems" / "one-node.json").unlink()
    assert "one-node.json cannot be read" in score_submission(organisation).warnings[0]


def test_a_scaling_file_is_applied_only_if_asked_for_and_said_if_not(organisation):
    folder = organisation / "results" / "two-nodes" / "retinanet"
    (folder / "scaling.json").write_text('{"scaling_factor": 2.0}')
    plain = score_submission(organisation)
    assert any("scaling.json is there and is not applied" in warning for warning in plain.warnings)
    scaled = score_submission(organisation, use_scaling_files=True)
    assert scaled.rows[1].minutes == pytest.approx(2 * plain.rows[1].minutes)
    assert score_submission(organisation) == plain


def test_many_submitters_are_found_under_one_folder(organisation):
    assert len(score_submission(organisation.parent).rows) == 2


def test_a_folder_without_logs_is_a_warning(organisation):
    (organisation / "results" / "two-nodes" / "rgat").mkdir()
    assert (
        "results/two-nodes/rgat holds no result_*.txt" in score_submission(organisation).warnings[1]
    )


def test_a_place_without_results_is_an_error(tmp_path):
    with pytest.raises(DataError, match="give a submission's folder"):
        score_submission(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        score_submission(tmp_path / "nowhere")


def test_rows_are_written_as_csv_and_json(organisation, tmp_path):
    rows = score_submission(organisation).rows
    write_rows(tmp_path / "rows.csv", rows)
    write_rows(tmp_path / "rows.json", rows)
    with (tmp_path / "rows.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["system"] for row in table] == ["one-node", "two-nodes"]
    assert table[0]["minutes"] == ""
    assert float(table[1]["minutes"]) == rows[1].minutes
    assert json.loads((tmp_path / "rows.json").read_text())[1]["minutes"] == rows[1].minutes
    with pytest.raises(UsageError, match=r"as \.csv or \.json"):
        write_rows(tmp_path / "rows.xml", rows)
