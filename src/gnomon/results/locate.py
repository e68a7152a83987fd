"""Find the run a person means: a path, the start of a run's name, or `latest`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gnomon.core.errors import RunFolderError
from gnomon.core.execute import DEFAULT_OUT
from gnomon.core.run import RUN_FILE, Run, find_runs


def find_run(name: str | Path, out: Path = DEFAULT_OUT) -> Path:
    """The run folder that `name` means.

    Args:
        name: A run folder, its `run.json`, the start of a folder's name under `out`, or `latest`.
        out: Where run folders are looked for.

    Raises:
        RunFolderError: There is none, or the name is the start of several.
    """
    path = Path(name)
    if path.name == RUN_FILE and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    runs = find_runs(out)
    if str(name) == "latest":
        if not runs:
            raise RunFolderError(f"there are no runs in {out} yet: gnomon run makes one")
        return runs[-1]
    matches = [run for run in runs if run.name.startswith(str(name))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RunFolderError(
            f"{name} is the start of {len(matches)} runs in {out}: give more of the name"
        )
    raise RunFolderError(f"no run {name}: it is neither a folder nor the start of a name in {out}")


def open_runs(names: Iterable[str | Path], out: Path = DEFAULT_OUT) -> list[Run]:
    """Open several runs by name."""
    return [Run.open(find_run(name, out)) for name in names]


def load(name: str | Path = "latest", out: Path = DEFAULT_OUT) -> Run:
    """Open a run by path, the start of its name, or `latest`."""
    return Run.open(find_run(name, out))
