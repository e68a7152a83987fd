"""Configuration files: precedence, the error for each bad line, and the reference's own reading.

The reference is asked in a process of its own, forked for each file: it keeps what it read before.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import mlperf_loadgen
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.errors import ConfigError
from gnomon.loadgen.config import KEYS, SCENARIOS, read_config, settings_overrides
from gnomon.loadgen.settings import NS_PER_MS, ROUND_SEEDS, Scenario

SERVER = Scenario.SERVER
ANSWERING_PROCESS = """
import json, os, sys
import mlperf_loadgen
NAMES = [name for name in dir(mlperf_loadgen.TestSettings) if name[0] != "_"]
for line in sys.stdin:
    if os.fork() == 0:
        settings = mlperf_loadgen.TestSettings()
        code = settings.FromConfig(*json.loads(line), 1)
        values = {name: getattr(settings, name) for name in NAMES}
        plain = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        os.write(1, (json.dumps([code, plain]) + "\\n").encode())
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def reference_loadgen():
    """Ask the reference what a user.conf sets: the return code and the settings by name."""
    with subprocess.Popen(
        [sys.executable, "-c", ANSWERING_PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(path, model, scenario):
            process.stdin.write(json.dumps([str(path), model, scenario.field_name]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask


@pytest.fixture
def file_of(tmp_path):
    """Write a configuration file and read it."""

    def write_and_read(*lines, role="user", name="user.conf"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_config(path, role)

    return write_and_read


def values(*files, model="m", scenario=SERVER):
    return settings_overrides(files, model, scenario).values


# --- precedence -----------------------------------------------------------------------------------

PLACES = ["m.Server", "*.Server", "m.*", "*.*"]
"""The most specific first."""


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("first", range(len(PLACES)))
def test_within_a_file_the_most_specific_line_wins_wherever_it_stands(file_of, first, backwards):
    lines = [f"{place}.target_qps = {n + 1}" for n, place in enumerate(PLACES)][first:]
    file = file_of(*(reversed(lines) if backwards else lines))
    assert values(file) == {"target_qps": first + 1}


def test_of_two_lines_for_the_same_place_the_last_wins(file_of):
    assert values(file_of("m.*.target_qps = 1", "m.*.target_qps = 2")) == {"target_qps": 2}


def test_a_later_file_wins_however_general_its_line(file_of):
    mlperf = file_of("m.Server.target_qps = 1", "m.Server.min_duration = 5", role="mlperf")
    user = file_of("*.*.target_qps = 2")
    assert values(mlperf, user) == {"target_qps": 2, "min_duration_ns": 5 * NS_PER_MS}
    assert values(user, mlperf)["target_qps"] == 1


def test_lines_for_other_models_and_scenarios_change_nothing(file_of):
    file = file_of(
        "other.Server.target_qps = 1", "m.Offline.target_qps = 2", "m.*.min_duration = 3"
    )
    assert values(file) == {"min_duration_ns": 3 * NS_PER_MS}


def test_a_model_may_have_dots_in_its_name(file_of):
    file = file_of("llama3.1-8b.Server.target_qps = 7", "wan-2.2-t2v-a14b.*.min_duration = 1")
    assert values(file, model="llama3.1-8b") == {"target_qps": 7}


def test_a_sample_count_of_zero_undoes_an_earlier_file(file_of):
    mlperf = file_of("m.*.performance_sample_count_override = 64", role="mlperf")
    assert values(mlperf) == {"performance_sample_count": 64}
    assert values(mlperf, file_of("*.*.performance_sample_count_override = 0")) == {}


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*.*.min_duration = 600000", {"min_duration_ns": 600_000 * NS_PER_MS}),
        ("*.*.max_duration = 0x10", {"max_duration_ns": 16 * NS_PER_MS}),
        ("*.*.min_query_count = 0X1f", {"min_query_count": 31}),
        ("*.*.max_query_count = +7", {"max_query_count": 7}),
        ("*.Server.target_qps = 0x20", {"target_qps": 32}),
        ("*.Server.target_qps = 1e-1", {"target_qps": 0.1}),
        ("*.Server.target_latency = 15", {"target_latency_ns": 15 * NS_PER_MS}),
        ("*.Server.target_latency_percentile = 99.9", {"target_latency_percentile": 0.999}),
        ("*.*.performance_issue_same = 1", {"performance_issue_same": True}),
        ("*.*.performance_issue_unique = 0", {"performance_issue_unique": False}),
        ("*.*.performance_issue_same_index = 3", {"performance_issue_same_index": 3}),
        ("*.Server.coalesce_queries = 1", {"server_coalesce_queries": True}),
        ("*.Server.max_async_queries = 9", {"max_async_queries": 9}),
        ("\t*.Server.target_qps\t=\t5  \r", {"target_qps": 5}),
    ],
)
def test_a_value_is_read_in_its_unit_and_base(file_of, line, expected):
    found = values(file_of(line))
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


def test_comments_and_blank_lines_are_passed_over(file_of):
    file = file_of("# a comment = here", "", "   ", "  # another", "*.Server.target_qps = 5", "#")
    assert values(file) == {"target_qps": 5}
    assert file.lines[0].number == 5


def test_a_file_of_comments_alone_changes_nothing(file_of):
    assert values(file_of("# nothing yet")) == {}


def test_lines_that_change_nothing_are_told_with_the_reason(file_of):
    file = file_of(
        "m.*.target_latency = 5",
        "m.*.samples_per_query = 4",
        "*.*.ttft_latency = 0.5",
        "*.*.mode = 2",
        "*.*.print_timestamps = 1",
        "other.*.target_latency = 5",
    )
    overrides = settings_overrides([file], "m", Scenario.OFFLINE)
    assert overrides.values == {}
    place = re.escape(str(file.path))
    expected = [
        rf"{place}:1: target_latency is not used: no expected latency is needed in offline",
        rf"{place}:2: samples_per_query is not used: it means nothing in offline",
        rf"{place}:3: ttft_latency is not used: token latencies",
        rf"{place}:4: mode is not used: ",
        rf"{place}:5: print_timestamps is not used: ",
    ]
    assert len(overrides.unused) == len(expected)
    for pattern, words in zip(expected, sorted(overrides.unused), strict=True):
        assert re.match(pattern, words)


def test_seeds_are_read_from_an_mlperf_conf(file_of):
    lines = [f"*.*.{name}_rng_seed = {n}" for n, name in enumerate(["qsl", "sample_index"])]
    file = file_of(*lines, f"*.*.schedule_rng_seed = {2**64 - 1}", role="mlperf")
    seeds = values(file)["seeds"]
    assert (seeds.qsl, seeds.sample_index, seeds.schedule) == (0, 1, 2**64 - 1)


# --- bad lines ------------------------------------------------------------------------------------

BAD_LINES = {
    "*.Server.target_qsp = 5": "unknown key 'target_qsp': did you mean 'target_qps'?",
    "*.Server.TargetLatencyNs = 5": "unknown key 'TargetLatencyNs': did you mean 'target_latency'?",
    "*.Server.colour = 5": f"unknown key 'colour': known are {', '.join(KEYS)}",
    "*.Server.target_qps=5": "write `*.Server.target_qps = 5`, with spaces around the =",
    "*.Server.target_qps= 5": "write `*.Server.target_qps = 5`, with spaces around the =",
    "*.Server.target_qps =5": "write `*.Server.target_qps = 5`, with spaces around the =",
    "*.Server.target_qps=5 # fast": "write `*.Server.target_qps = 5`, with spaces around the =",
    "*.Server.target_qps = 5 # fast": (
        "a comment may not follow a value: move `# fast` to its own line"
    ),
    "*.Server.target_qps = 7 8": "*.Server.target_qps has more than one value: remove `8`",
    "*.Server.target_qps =": "*.Server.target_qps has no value",
    "*.Server.target_qps = fast": "target_qps must be a number, got fast",
    "*.Server.target_qps = 5#fast": "target_qps must be a number, got 5#fast",
    "*.Server.target_qps = nan": "target_qps must not be negative, got nan",
    "*.Server.target_qps = -5": "target_qps must not be negative, got -5",
    "*.*.min_query_count = -1": "min_query_count must not be negative, got -1",
    "*.*.min_duration = 1e3": "min_duration must be a whole number, got 1e3",
    "*.*.min_query_count = 10.0": "min_query_count must be a whole number, got 10.0",
    "*.*.min_query_count = many": "min_query_count must be a whole number, got many",
    "*.*.performance_issue_same = 2": "performance_issue_same must be 0 or 1, got 2",
    "*.*.performance_issue_same = true": "performance_issue_same must be 0 or 1, got true",
    "*.server.target_qps = 5": "unknown scenario 'server': did you mean 'Server'?",
    "*.SingelStream.min_duration = 5": (
        "unknown scenario 'SingelStream': did you mean 'SingleStream'?"
    ),
    "*.Training.min_duration = 5": (
        "unknown scenario 'Training': use one of SingleStream, MultiStream, Server, Offline or *"
    ),
    "Server.target_qps = 5": (
        "'Server.target_qps' must be model.scenario.key, e.g. `*.Server.target_qps`"
    ),
    "*.*.qsl_rng_seed = 5": "seeds cannot be set in a user.conf: use --seeds, or an mlperf.conf",
    "*.*.schedule_rng_seed = 5": (
        "seeds cannot be set in a user.conf: use --seeds, or an mlperf.conf"
    ),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_by_file_and_line_with_the_mend(tmp_path, line):
    path = tmp_path / "user.conf"
    path.write_text(f"# settings of 2026\n\n{line}\n*.Server.target_qps = 5\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path, "user")
    assert str(caught.value) == f"{path}:3: {BAD_LINES[line]}"


@pytest.mark.parametrize("line", ["once upon a time", "word", "*.Server.target_qps 5"])
def test_a_line_that_sets_nothing_is_told_what_a_line_looks_like(file_of, line):
    with pytest.raises(ConfigError, match=r"user\.conf:1: .*model\.scenario\.key = value"):
        file_of(line)


@pytest.mark.parametrize("text", ["1_000", "0b11", "0o17", "\u0661\u0662", "\uff11\uff12"])
@pytest.mark.parametrize("key", ["target_qps", "min_query_count"])
def test_a_number_that_only_python_reads_is_refused(file_of, key, text):
    with pytest.raises(ConfigError, match=rf"user\.conf:1: {key} must be a .*, got {text}"):
        file_of(f"*.Server.{key} = {text}")


@pytest.mark.parametrize("text", ["inf", "1e400", "9" * 400])
@pytest.mark.parametrize("key", ["target_qps", "target_latency", "target_latency_percentile"])
def test_a_number_without_bound_is_refused(file_of, key, text):
    with pytest.raises(ConfigError, match=rf"user\.conf:1: {key} must be "):
        values(file_of(f"*.Server.{key} = {text}"))


@pytest.mark.parametrize("key", ["min_query_count", "min_duration", "max_async_queries"])
def test_a_count_too_large_for_any_counter_is_refused(file_of, key):
    with pytest.raises(ConfigError, match=rf"user\.conf:1: {key} must be "):
        values(file_of(f"*.Server.{key} = {2**64}"))


def test_a_seed_of_more_than_64_bits_is_refused_by_file_and_line(file_of):
    seeds = [f"*.*.{name}_rng_seed = 1" for name in ("qsl", "sample_index")]
    with pytest.raises(ConfigError, match=r"mlperf\.conf:3: schedule_rng_seed must be "):
        values(
            file_of(*seeds, f"*.*.schedule_rng_seed = {2**64}", role="mlperf", name="mlperf.conf")
        )


def test_some_seeds_without_the_others_are_refused(file_of):
    file = file_of("*.*.qsl_rng_seed = 1", role="mlperf", name="mlperf.conf")
    with pytest.raises(ConfigError, match=r"mlperf\.conf.*but sample_index, schedule is not"):
        values(file)


def test_a_user_conf_for_another_model_alone_is_taken_for_a_misspelling(file_of):
    file = file_of("resnet5.Server.target_qps = 5")
    with pytest.raises(ConfigError) as caught:
        values(file, model="resnet50")
    assert str(caught.value) == (
        f"{file.path}: no line applies to 'resnet50', only to resnet5: did you mean `resnet50.` "
        f"instead of `resnet5.`?"
    )
    far = file_of("bert.Server.target_qps = 5", "gptj.*.min_duration = 5")
    with pytest.raises(ConfigError, match=r"no line applies to 'resnet50', only to bert, gptj$"):
        values(far, model="resnet50")
    assert values(file_of("bert.*.min_duration = 5", role="mlperf"), model="resnet50") == {}


def test_a_byte_order_mark_hides_no_line(tmp_path):
    path = tmp_path / "user.conf"
    path.write_bytes(b"\xef\xbb\xbf*.Server.target_qps = 5\r\n*.*.min_duration = 1\r\n")
    assert values(read_config(path, "user")) == {"target_qps": 5, "min_duration_ns": NS_PER_MS}


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_comment_goes_on_to_the_end_of_its_line(file_of, end):
    file = file_of(f"# once{end}*.Server.target_qps = 4", "*.Server.target_qps = 5")
    assert [(line.value, line.number) for line in file.lines] == [(5, 2)]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"away\.conf cannot be read: No such file.*--config"):
        read_config(tmp_path / "away.conf", "user")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path, "user")
    (tmp_path / "binary.conf").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match=r"binary\.conf is not a text file"):
        read_config(tmp_path / "binary.conf", "user")


@given(st.text(max_size=60))
@example("= = =")
@example(".. = 1")
@example("*.Server.target_qps = \u00b2")
def test_any_line_is_read_or_refused_by_file_and_line(tmp_path_factory, line):
    path = tmp_path_factory.getbasetemp() / "any.conf"
    path.write_bytes(line.encode("utf-8", "replace"))
    try:
        read_config(path, "user")
    except ConfigError as error:
        assert re.match(re.escape(str(path)) + r":\d+: ", str(error))  # noqa: PT017


# --- beside the reference -------------------------------------------------------------------------


def as_the_references(found, scenario):
    """Our values under the names that the reference's settings have."""
    field = {
        Scenario.SINGLE_STREAM: "single_stream",
        Scenario.MULTI_STREAM: "multi_stream",
        Scenario.SERVER: "server",
        Scenario.OFFLINE: "offline",
    }[scenario]
    names = {
        "target_qps": "offline_expected_qps"
        if scenario is Scenario.OFFLINE
        else "server_target_qps",
        "target_latency_ns": "server_target_latency_ns",
        "target_latency_percentile": f"{field}_target_latency_percentile",
        "samples_per_query": "multi_stream_samples_per_query",
        "performance_sample_count": "performance_sample_count_override",
        "max_async_queries": "server_max_async_queries",
    }
    renamed = {}
    for name, value in found.items():
        if name == "seeds":
            renamed |= {f"{key}_rng_seed": seed for key, seed in value.model_dump().items()}
        elif name in ("min_duration_ns", "max_duration_ns"):
            renamed[name.replace("_ns", "_ms")] = value // NS_PER_MS
        else:
            renamed[names.get(name, name)] = value
    return renamed


MODELS = ["resnet50", "bert", "3d-unet"]
flag = st.sampled_from(["0", "1"])
count = st.integers(1, 10**9).flatmap(
    lambda number: st.sampled_from([str(number), hex(number), f"0X{number:X}", f"+{number}"])
)
rate = count | st.floats(1e-3, 1e7).map(repr)
percentile = st.integers(1, 99).map(str) | st.integers(1, 9999).map(lambda n: f"{n / 100}")
value_of = {
    "min_duration": count,
    "max_duration": count,
    "min_query_count": count,
    "max_query_count": count,
    "target_qps": rate,
    "target_latency": count,
    "target_latency_percentile": percentile,
    "samples_per_query": count,
    "performance_sample_count_override": count,
    "sample_concatenate_permutation": flag,
    "performance_issue_unique": flag,
    "performance_issue_same": flag,
    "performance_issue_same_index": count,
    "coalesce_queries": flag,
    "max_async_queries": count,
}


@st.composite
def config_lines(draw):
    key = draw(st.sampled_from(sorted(value_of)))
    model, scenario = (
        draw(st.sampled_from(["*", *MODELS])),
        draw(st.sampled_from(["*", *SCENARIOS])),
    )
    return f"{model}.{scenario}.{key} = {draw(value_of[key])}"


passed_over = st.sampled_from(["", "   ", "# a comment", "  # x = y"])


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(config_lines() | passed_over, max_size=25),
    model=st.sampled_from(MODELS),
    scenario=st.sampled_from(Scenario),
)
def test_a_valid_file_sets_what_the_reference_reads_from_it(
    reference_loadgen, tmp_path_factory, lines, model, scenario
):
    path = tmp_path_factory.getbasetemp() / "user.conf"
    path.write_text("\n".join(["*.*.min_query_count = 1", *lines, ""]))
    _, before = reference_loadgen("/dev/null", model, scenario)
    code, after = reference_loadgen(path, model, scenario)
    assert code == 0
    ours = as_the_references(
        values(read_config(path, "user"), model=model, scenario=scenario), scenario
    )
    of_others = {
        "single-stream": "multi_stream_|server_|offline_|single_stream_expected",
        "multi-stream": "single_stream_|server_|offline_|multi_stream_expected",
        "server": "single_stream_|multi_stream_|offline_",
        "offline": "single_stream_|multi_stream_|server_",
    }[scenario.value]
    expected = {name: value for name, value in after.items() if not re.match(of_others, name)}
    before = {name: value for name, value in before.items() if name in expected}
    assert before | ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", ["2.5", "0.5"])
def test_a_server_bound_that_the_reference_would_cut_is_an_error_here(
    reference_loadgen, tmp_path, text
):
    path = tmp_path / "user.conf"
    path.write_text(f"*.Server.target_latency = {text}\n")
    _, settings = reference_loadgen(path, "m", SERVER)
    assert settings["server_target_latency_ns"] == int(float(text)) * NS_PER_MS
    with pytest.raises(ConfigError, match=r"user\.conf:1: target_latency must be a whole number"):
        values(read_config(path, "user"))


@pytest.mark.parametrize(
    "line",
    [
        "*.Server.target_qps=5",
        "*.Server.target_qsp = 5",
        "*.server.target_qps = 5",
        "*.Server.target_qps =",
        "*.*.qsl_rng_seed = 5",
        "*.*.sample_concatenate_permutation = 5",
        "Server.target_qps = 5",
        "word",
    ],
)
def test_what_the_reference_skips_in_silence_is_an_error_here(reference_loadgen, tmp_path, line):
    path = tmp_path / "user.conf"
    path.write_text(line + "\n")
    assert reference_loadgen(path, "m", SERVER) == reference_loadgen("/dev/null", "m", SERVER)
    with pytest.raises(ConfigError, match=r"user\.conf:1: "):
        read_config(path, "user")


@pytest.fixture(scope="module")
def embedded_conf(tmp_path_factory):
    """The mlperf.conf of the round, which the reference carries inside its library."""
    library = Path(mlperf_loadgen.__file__).read_bytes()
    place = library.index(b"*.*.qsl_rng_seed")
    start, stop = library.rindex(b"\0", 0, place) + 1, library.index(b"\0", place)
    path = tmp_path_factory.mktemp("embedded") / "mlperf.conf"
    path.write_bytes(library[start:stop])
    return path


def test_the_rounds_own_mlperf_conf_is_read_without_an_error(embedded_conf):
    file = read_config(embedded_conf, "mlperf")
    assert len(file.lines) > 100
    assert {line.scenario for line in file.lines} == {"*", *SCENARIOS}
    seeds = values(file)["seeds"]
    assert seeds == ROUND_SEEDS["v6.1"]


@pytest.mark.parametrize("scenario", Scenario)
def test_the_rounds_own_mlperf_conf_sets_what_the_reference_reads_from_it(
    reference_loadgen, embedded_conf, scenario
):
    file = read_config(embedded_conf, "mlperf")
    for model in sorted({line.model for line in file.lines}):
        _, expected = reference_loadgen("/dev/null", model, scenario)
        ours = as_the_references(values(file, model=model, scenario=scenario), scenario)
        assert ours == pytest.approx({name: expected[name] for name in ours}, rel=1e-12)
        assert expected["performance_sample_count_override"] == ours.get(
            "performance_sample_count_override", 0
        )
