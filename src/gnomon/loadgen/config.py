"""The field's configuration files, `mlperf.conf` and `user.conf`: read with their own precedence.

A line is `model.scenario.key = value`; `*` stands for any model or scenario. Within a file the most
specific line wins (exact, then `*.scenario.key`, then `model.*.key`, then `*.*.key`), a later file wins
over an earlier one. Unlike the reference, which skips what it does not understand, every line that would
be skipped is an error with its number. Source: `TestSettings::FromConfig`, loadgen 6.0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gnomon.core.errors import ConfigError, nearest_name
from gnomon.loadgen.settings import NS_PER_MS, Scenario, Seeds

Role = Literal["mlperf", "user"]
# Numbers as C reads them; Python would also take 1_000 and 0b11.
_C_WHOLE = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)")
_C_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|inf")
SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")


@dataclass(frozen=True)
class Key:
    """What a key sets.

    Attributes:
        setting: The field of `Settings`, or empty if this load generator has no use for the key.
        scale: The value is multiplied by this.
        whole: Whether the value must be a whole number.
        flag: Whether the value must be 0 or 1.
        why_unused: If there is no use for it, why.
    """

    setting: str = ""
    scale: float = 1
    whole: bool = True
    flag: bool = False
    why_unused: str = ""


_TOKENS = Key(why_unused="token latencies are not measured by this protocol", whole=False)
_TEST05 = Key(why_unused="TEST05 is retired since v5.0")
_AUDIT = Key(why_unused="logging of sampled responses belongs to audits", whole=False)
_SEED = Key("seeds")
KEYS: dict[str, Key] = {
    "min_duration": Key("min_duration_ns", NS_PER_MS),
    "max_duration": Key("max_duration_ns", NS_PER_MS),
    "min_query_count": Key("min_query_count"),
    "max_query_count": Key("max_query_count"),
    "target_duration": Key(why_unused="the reference does not read it either"),
    "target_qps": Key("target_qps", whole=False),
    "target_latency": Key("target_latency_ns", NS_PER_MS, whole=False),
    "target_latency_percentile": Key("target_latency_percentile", 0.01, whole=False),
    "samples_per_query": Key("samples_per_query"),
    "performance_sample_count_override": Key("performance_sample_count"),
    "accuracy_sample_count_override": Key(why_unused="accuracy tests use the whole data set"),
    "sample_concatenate_permutation": Key("sample_concatenate_permutation", flag=True),
    "performance_issue_unique": Key("performance_issue_unique", flag=True),
    "performance_issue_same": Key("performance_issue_same", flag=True),
    "performance_issue_same_index": Key("performance_issue_same_index"),
    "coalesce_queries": Key("server_coalesce_queries", flag=True),
    "max_async_queries": Key("max_async_queries"),
    "qsl_rng_seed": _SEED,
    "sample_index_rng_seed": _SEED,
    "schedule_rng_seed": _SEED,
    "mode": Key(why_unused="what is measured is chosen by options"),
    "print_timestamps": Key(why_unused="timestamps are always on record"),
    "accuracy_log_rng_seed": _AUDIT,
    "accuracy_log_probability": _AUDIT,
    "accuracy_log_sampling_target": _AUDIT,
    "test05": _TEST05,
    "test05_qsl_rng_seed": _TEST05,
    "test05_sample_index_rng_seed": _TEST05,
    "test05_schedule_rng_seed": _TEST05,
    "use_token_latencies": _TOKENS,
    "ttft_latency": _TOKENS,
    "tpot_latency": _TOKENS,
    "infer_token_latencies": _TOKENS,
    "token_latency_scaling_factor": _TOKENS,
}
ONLY_IN: dict[str, tuple[Scenario, ...]] = {
    # Keys that the reference looks up for these scenarios alone.
    "target_qps": (Scenario.SERVER, Scenario.OFFLINE),
    "samples_per_query": (Scenario.MULTI_STREAM,),
    "coalesce_queries": (Scenario.SERVER,),
    "max_async_queries": (Scenario.SERVER,),
    "target_latency_percentile": (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.SERVER),
}


@dataclass(frozen=True)
class Line:
    """One setting in a file."""

    model: str
    scenario: str
    key: str
    value: float
    number: int


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as read."""

    path: Path
    role: Role
    lines: tuple[Line, ...]

    def values(self, model: str, scenario: Scenario) -> dict[str, Line]:
        """For each key, the line that decides it for this model and scenario."""
        decided: dict[str, Line] = {}
        for place in (
            ("*", "*"),
            (model, "*"),
            ("*", scenario.field_name),
            (model, scenario.field_name),
        ):
            for line in self.lines:  # a later duplicate wins
                if (line.model, line.scenario) == place:
                    decided[line.key] = line
        return decided


@dataclass(frozen=True)
class Overrides:
    """What configuration files change.

    Attributes:
        values: New values by field of `Settings`.
        unused: Lines that apply but change nothing, each with the reason.
    """

    values: dict[str, Any]
    unused: tuple[str, ...] = ()


def read_config(path: Path, role: Role) -> ConfigFile:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, or a line in it means nothing; the message has the line number and
            the mend.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror} (--config)") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file (--config)") from None
    lines = [
        _read_line(raw, f"{path}:{number}", number, role)
        for number, raw in enumerate(text.split("\n"), start=1)
        if raw.strip() and not raw.lstrip().startswith("#")
    ]
    return ConfigFile(path, role, tuple(lines))


def settings_overrides(files: Sequence[ConfigFile], model: str, scenario: Scenario) -> Overrides:
    """What these files, later over earlier, change for one model and scenario.

    Raises:
        ConfigError: A user.conf has no line for this model at all.
    """
    values: dict[str, Any] = {}
    unused: list[str] = []
    seeds: dict[str, int] = {}
    for file in files:
        _require_addressed(file, model)
        for key, line in file.values(model, scenario).items():
            place = f"{file.path}:{line.number}: {key}"
            known = KEYS[key]
            if not known.setting:
                unused.append(f"{place} is not used: {known.why_unused}")
            elif key == "target_latency" and scenario is not Scenario.SERVER:
                unused.append(f"{place} is not used: no expected latency is needed in {scenario}")
            elif scenario not in ONLY_IN.get(key, (scenario,)):
                unused.append(f"{place} is not used: it means nothing in {scenario}")
            elif known.setting == "seeds":
                seeds[key.removesuffix("_rng_seed")] = int(line.value)
            elif key == "performance_sample_count_override" and line.value == 0:
                values.pop(known.setting, None)  # 0: what the benchmark declares
            elif key == "target_latency" and not isinstance(line.value, int):
                raise ConfigError(f"{place} must be a whole number, got {line.value:g}")
            else:
                values[known.setting] = _converted(known, line)
    if seeds:
        missing = {"qsl", "sample_index", "schedule"} - seeds.keys()
        if missing:
            raise ConfigError(
                f"{files[-1].path}: seeds are set but {', '.join(sorted(missing))} is not"
            )
        values["seeds"] = Seeds(**seeds)
    return Overrides(values, tuple(unused))


def _read_line(raw: str, place: str, number: int, role: Role) -> Line:
    words = raw.split()
    name = words[0]
    if "=" not in raw:
        raise ConfigError(
            f"{place}: {raw.strip()!r} sets nothing: write `model.scenario.key = value`"
        )
    if "=" in name or len(words) < 2 or words[1] != "=":
        spaced = " = ".join(part.strip() for part in raw.split("#")[0].split("=", 1))
        raise ConfigError(f"{place}: write `{spaced}`, with spaces around the =")
    if len(words) < 3:
        raise ConfigError(f"{place}: {name} has no value")
    if len(words) > 3:
        rest = " ".join(words[3:])
        if words[3].startswith("#"):
            raise ConfigError(
                f"{place}: a comment may not follow a value: move `{rest}` to its own line"
            )
        raise ConfigError(f"{place}: {name} has more than one value: remove `{rest}`")
    parts = name.rsplit(".", 2)
    if len(parts) != 3:
        raise ConfigError(
            f"{place}: {name!r} must be model.scenario.key, e.g. `*.Server.target_qps`"
        )
    model, scenario, key = parts
    if scenario != "*" and scenario not in SCENARIOS:
        nearest = nearest_name(scenario, SCENARIOS)
        raise ConfigError(
            f"{place}: unknown scenario {scenario!r}: "
            + (
                f"did you mean {nearest!r}?"
                if nearest
                else f"use one of {', '.join(SCENARIOS)} or *"
            )
        )
    if key not in KEYS:
        nearest = nearest_name(key, KEYS)
        raise ConfigError(
            f"{place}: unknown key {key!r}"
            + (f": did you mean {nearest!r}?" if nearest else f": known are {', '.join(KEYS)}")
        )
    if KEYS[key].setting == "seeds" and role == "user":
        raise ConfigError(
            f"{place}: seeds cannot be set in a user.conf: use --seeds, or an mlperf.conf"
        )
    return Line(model, scenario, key, _value(words[2], KEYS[key], f"{place}: {key}"), number)


def _value(text: str, key: Key, place: str) -> float:
    try:
        whole: int | None = int(text, 0) if _C_WHOLE.fullmatch(text) else None
    except ValueError:
        whole = None
    if key.flag and whole not in (0, 1):
        raise ConfigError(f"{place} must be 0 or 1, got {text}")
    if whole is not None:
        value: float = whole
    elif key.whole:
        raise ConfigError(f"{place} must be a whole number, got {text}")
    else:
        try:
            if not _C_REAL.fullmatch(text):
                raise ValueError
            value = float(text)
        except ValueError:
            raise ConfigError(f"{place} must be a number, got {text}") from None
    if value < 0 or value != value:
        raise ConfigError(f"{place} must not be negative, got {text}")
    if value >= 2**64:
        raise ConfigError(f"{place} must be below 2^64, got {text}")
    return value


def _converted(key: Key, line: Line) -> Any:
    if key.flag:
        return bool(line.value)
    if key.setting.endswith("_ns"):
        return round(line.value * key.scale)
    if key.setting == "target_latency_percentile":
        return round(line.value * key.scale, 12)
    return line.value * key.scale if key.scale != 1 else line.value


def _require_addressed(file: ConfigFile, model: str) -> None:
    """Catch the misspelt model: a user.conf that says nothing at all to this benchmark."""
    if (
        file.role == "user"
        and file.lines
        and not any(line.model in ("*", model) for line in file.lines)
    ):
        models = sorted({line.model for line in file.lines})
        nearest = nearest_name(model, models)
        raise ConfigError(
            f"{file.path}: no line applies to {model!r}, only to {', '.join(models)}"
            + (f": did you mean `{model}.` instead of `{nearest}.`?" if nearest else "")
        )
