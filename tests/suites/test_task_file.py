"""Task files: the app's format and TOML, what becomes of each, and what is said about a wrong line."""

import hashlib
import json
from pathlib import Path

import pytest

from gnomon.core.errors import DataError, UnknownNameError
from gnomon.core.registry import BENCHMARKS
from gnomon.loadgen.settings import LoadBenchmark, Scenario
from gnomon.suites.task_file import benchmark_from, read_task_file, task_named
from gnomon.tasks.mobile.imagenet import MobileImageNet

RUNS = """
  runs {
    normal { min_query_count: 1000 min_duration: 50 max_duration: 500 }
    quick { min_query_count: 100 min_duration: 5 max_duration: 50 }
    rapid { min_query_count: 10 min_duration: 0.5 max_duration: 5 }
  }
"""
OFFLINE_RUNS = """
  runs {
    normal { min_query_count: 20000 min_duration: 0 max_duration: 0 }
    quick { min_query_count: 2000 min_duration: 0 max_duration: 0 }
    rapid { min_query_count: 20 min_duration: 0 max_duration: 0 }
  }
"""


def one_data_set(name, inputs, truth, md5=""):
    return f"""{name} {{
      name: "some"
      input_path: "{inputs}"
      input_checksum: "{md5}"
      groundtruth_path: "{truth}"
      groundtruth_checksum: ""
    }}"""


def app_task(
    name="classify",
    kind="IMAGENET",
    scenario="SingleStream",
    runs=RUNS,
    inputs="local:///data/img",
    truth="local:///data/classes.txt",
    md5="",
    more="",
):
    """A task in the app's format."""
    sets = [one_data_set(part, inputs, truth, md5) for part in ("full", "lite", "tiny")]
    return f"""
task {{
  id: "{name}"
  name: "Of {name} "
  task_set: "some"
  required_option: "online"
  max_throughput: 1000
  max_accuracy: 1.0
  scenario: "{scenario}"
  {runs}
  datasets {{
    type: {kind}
    {" ".join(sets)}
  }}
  model {{ id: "m" name: "M" offset: 0 image_width: 96 image_height: 64 num_classes: 1000 }}
  {more}
}}
"""


SET = 'task_set { id: "some" name: "Some" option_set { id: "o" name: "O" opt { id: "online" name: "On" } } }'


@pytest.fixture
def written(tmp_path):
    """Writes text to a file beside data/img and data/classes.txt, and gives the file."""
    (tmp_path / "data" / "img").mkdir(parents=True)
    (tmp_path / "data" / "img" / "a.jpg").touch()
    (tmp_path / "data" / "classes.txt").write_text("3")

    def write(text, name="tasks.pbtxt"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def modes_of(benchmark):
    return {mode.name: mode for mode in benchmark.settings_as(LoadBenchmark).run_modes}


def test_a_task_of_the_app_becomes_a_benchmark_with_its_durations_and_data(written):
    file = written(SET + app_task() + app_task("other"))
    entries = read_task_file(file)
    assert list(entries) == ["classify", "other"]
    chosen = benchmark_from(task_named(entries, "classify"))
    benchmark, base = chosen.benchmark, BENCHMARKS.load("mobile-imagenet")
    assert (benchmark.name, benchmark.title, benchmark.task) == (
        "classify",
        "Of classify",
        "mobile-imagenet",
    )
    assert benchmark.quality == base.quality
    modes = modes_of(benchmark)
    assert list(modes) == ["normal", "quick", "rapid"]
    rapid = modes["rapid"]
    assert (rapid.min_query_count, rapid.min_duration_s, rapid.max_duration_s) == (10, 0.5, 5)
    assert not any(mode.official for mode in modes.values())
    declared = benchmark.settings_as(LoadBenchmark)
    assert declared.scenarios == declared.default_scenarios == (Scenario.SINGLE_STREAM,)
    assert declared.seeds == base.settings_as(LoadBenchmark).seeds
    assert chosen.model is None
    assert any("not comparable" in note for note in chosen.notes)
    # The task reads from the file how its model takes images.
    layout = MobileImageNet(chosen.data).layout
    assert (layout.image_width, layout.image_height, layout.offset) == (96, 64, 0)
    assert len(MobileImageNet(chosen.data)) == 1
    assert MobileImageNet(chosen.data).labels.tolist() == [3]


def test_an_offline_task_counts_samples_and_no_time(written):
    entries = read_task_file(written(app_task(scenario="Offline", runs=OFFLINE_RUNS)))
    benchmark = benchmark_from(entries["classify"]).benchmark
    assert benchmark.settings_as(LoadBenchmark).default_scenarios == (Scenario.OFFLINE,)
    quick = modes_of(benchmark)["quick"]
    assert (quick.offline_min_sample_count, quick.min_query_count) == (2000, 1)
    assert (quick.min_duration_s, quick.max_duration_s) == (0, 0)


@pytest.mark.parametrize("kind", ["COCO", "ADE20K", "SQUAD", "SNUSR"])
def test_every_kind_of_data_has_its_task(written, kind):
    entry = read_task_file(written(app_task(kind=kind)))["classify"]
    chosen = benchmark_from(entry)
    assert chosen.benchmark.task == f"mobile-{kind.lower()}"
    stated = json.loads(chosen.data.read_text())
    assert Path(stated["inputs"]).is_absolute()
    assert ("image_width" in stated) == (kind != "SQUAD")
    assert ("num_classes" in stated) == (kind == "ADE20K")


@pytest.mark.parametrize("kind", ["COCOGEN", "MMLU", "IFEVAL", "NONE"])
def test_other_tasks_are_said_not_to_be_measured(written, kind):
    entry = read_task_file(written(app_task("llm-1b", kind=kind)))["llm-1b"]
    with pytest.raises(DataError, match=f"llm-1b is on {kind} data and is not measured by gnomon"):
        benchmark_from(entry)


def test_data_lies_in_the_folder_that_is_named(written, tmp_path):
    entry = read_task_file(written(app_task()))["classify"]
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(
        DataError, match=r"there is no .*other/data/img, which is local:///data/img"
    ):
        benchmark_from(entry, other)
    (tmp_path / "data").rename(other / "data")
    assert benchmark_from(entry, other).data == other / "classify.json"


def test_nothing_is_downloaded_but_it_is_said_where_to_put_it(written, tmp_path):
    urls = {"inputs": "https://example.org/v1/img.zip", "truth": "https://example.org/v1/c.txt?x=1"}
    digest = hashlib.md5(b"3", usedforsecurity=False).hexdigest()
    entry = read_task_file(written(app_task(**urls, md5=digest)))["classify"]
    with pytest.raises(
        DataError, match=rf"download {urls['inputs']} and unpack it to {tmp_path}/img"
    ):
        benchmark_from(entry)
    (tmp_path / "data" / "img").rename(tmp_path / "img")
    with pytest.raises(DataError, match=rf"and put it at {tmp_path}/c\.txt"):
        benchmark_from(entry)
    (tmp_path / "c.txt").write_text("3")
    assert len(MobileImageNet(benchmark_from(entry).data)) == 1


def test_a_file_that_is_not_the_one_meant_is_refused(written):
    text = app_task(inputs="local:///data/classes.txt", md5="0" * 32)
    with pytest.raises(DataError, match=r"classes\.txt has MD5 .*, the task file says 0000"):
        benchmark_from(read_task_file(written(text))["classify"])


def test_what_differs_from_the_app_is_said(written):
    more = 'custom_config { id: "shards" value: "2" }'
    notes = benchmark_from(read_task_file(written(app_task("c_v2", more=more)))["c_v2"]).notes
    assert any("shards" in note for note in notes)
    assert any("no target is published for c_v2" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("min_query_count: 100 ", "min_querycount: 100 "), "did you mean 'min_query_count'?"),
        (('scenario: "SingleStream"', 'scenario: "Server"'), "scenario must be SingleStream or"),
        (("min_duration: 5 ", "min_duration: 51 "), "line 13: quick has"),
        (("max_accuracy: 1.0", ""), "TaskConfig of line 2 has no max_accuracy"),
        (("type: IMAGENET", "type: PICTURES"), "type must be one of IMAGENET, COCO"),
        (("local:///data/img", "/data/img"), "must begin with local:/// or be the URL of"),
        (("local:///data/img", "https://example.org"), "must begin with local:/// or be the URL"),
        (("max_duration: 5 ", "max_duration: nan "), "line 14: rapid has min_query_count 10"),
        (("min_query_count: 10 ", "min_query_count: 0 "), "line 14: rapid has min_query_count 0"),
        (("local:///data/classes.txt", ""), "has no groundtruth_path"),
    ],
)
def test_a_line_of_the_app_that_means_nothing_is_named(written, change, complaint):
    file = written(app_task().replace(*change))
    with pytest.raises(DataError) as caught:
        benchmark_from(read_task_file(file)["classify"])
    assert complaint in str(caught.value)
    assert f"{file} line " in str(caught.value)


def test_two_tasks_of_one_name_and_no_task_are_refused(written):
    with pytest.raises(DataError, match=r"there is a task 'classify' in line 2 already"):
        read_task_file(written(app_task() + app_task()))
    with pytest.raises(DataError, match="has no task"):
        read_task_file(written(SET))
    with pytest.raises(DataError, match="cannot be read"):
        read_task_file(Path("nowhere.pbtxt"))


def test_an_unknown_task_gets_the_nearest_name(written):
    entries = read_task_file(written(app_task()))
    with pytest.raises(UnknownNameError, match="did you mean 'classify'"):
        task_named(entries, "clasify")


def test_a_table_of_toml_changes_what_it_states_and_nothing_else(written, tmp_path):
    (tmp_path / "mine.onnx").touch()
    text = """
[strict]
base = "mobile-classification"
title = "At least 99 %"
quality = 0.99
model = "mine.onnx"
min_query_count = 7
max_duration_s = 90

[plain]
base = "mobile-imagenet"
data = "data"
"""
    entries = read_task_file(written(text, "mine.toml"))
    strict, plain = (benchmark_from(task_named(entries, name)) for name in ("strict", "plain"))
    base = BENCHMARKS.load("mobile-classification")
    assert (strict.benchmark.name, strict.benchmark.title) == ("strict", "At least 99 %")
    assert strict.benchmark.quality.threshold == 0.99
    assert strict.benchmark.quality.metric == base.quality.metric
    assert (strict.data, strict.model) == (None, tmp_path / "mine.onnx")
    modes, stated = modes_of(strict.benchmark), modes_of(base)
    assert list(modes) == list(stated)
    assert {mode.min_query_count for mode in modes.values()} == {7}
    assert {mode.max_duration_s for mode in modes.values()} == {90}
    assert modes["normal"].min_duration_s == stated["normal"].min_duration_s
    assert not any(mode.official for mode in modes.values())
    base = BENCHMARKS.load("mobile-imagenet")
    assert plain.benchmark.settings == base.settings
    assert plain.benchmark.quality == base.quality
    assert plain.data == tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a]\nbasis = 'x'", "unknown key of [a] 'basis': did you mean 'base'?"),
        ("[a]\ntitle = 'x'", "[a] base: Field required"),
        ("[a]\nbase = 'mobile-clasification'", "did you mean 'mobile-classification'?"),
        ("[a]\nbase = 'kws'", "[a] base 'kws' is measured by the protocol 'device'"),
        ("[a]\nbase = 'digits'\ncooldown_s = 1", "on top of a mobile benchmark only"),
        ("[a]\nbase = 'digits'\nmodel = 'no.onnx'", "no.onnx, which is not there"),
        ("[a]\nbase = 'digits'\nquality = '1'", "[a] quality: Input should be a valid number"),
        ("[a]\nbase = 'digits'\nquality = 94", "a share, 0 to 1: for 94 % give 0.94"),
        ("[a]\nbase = 'mobile-coco'\nmin_query_count = 0", "min_query_count: Input should be"),
        ("[a]\nbase = 'mobile-coco'\nmax_duration_s = 1", "under quick rules: state both"),
        ("base = 'digits'", "base stands outside of a table"),
        (
            "[a]\nbase = 'mobile-coco'\nmin_duration_s = inf",
            "min_duration_s: Input should be a finite",
        ),
        ("['../a']\nbase = 'digits'", "'../a' cannot be"),
        ("[a\n", "is no TOML"),
        ("", "has no task"),
    ],
)
def test_a_table_that_means_nothing_is_named(written, text, complaint):
    with pytest.raises(DataError) as caught:
        benchmark_from(read_task_file(written(text, "mine.toml"))["a"])
    assert complaint in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_quality_and_files_can_change_on_top_of_any_load_benchmark(written):
    entries = read_task_file(written("[a]\nbase = 'digits'\nquality = 0.5", "mine.toml"))
    chosen = benchmark_from(entries["a"])
    assert chosen.benchmark.quality.threshold == 0.5
    assert chosen.benchmark.settings == BENCHMARKS.load("digits").settings
