"""Pages of results: the history with its filters, two devices side by side, reports; JSON and CSV.

Made on the server from `gnomon.results.mobile_history`, without scripts. Addresses are relative to the
folder that the routes are mounted under. What stands on these pages comes from other machines: jinja2
escapes all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gnomon.core.errors import (
    MissingExtraError,
    RunFolderError,
    UnknownNameError,
    UsageError,
)
from gnomon.core.run import RUN_FILE, Run
from gnomon.core.version import __version__
from gnomon.results.mobile_compare import newest, pairs
from gnomon.results.mobile_history import HIGHEST_FIRST, SORTED_BY, History, Wanted
from gnomon.results.mobile_rows import ResultRow
from gnomon.results.mobile_table import as_csv, as_json, cells_of, value_text
from gnomon.results.report import render, write_report
from gnomon.web.chosen import of_names, of_ticks

try:
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
except ImportError:
    raise MissingExtraError("starlette", "mobile", "serving results") from None

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_ROWS = 500
"""On a page; JSON and CSV have all."""
SORTINGS = (
    ("started_at", "newest first"),
    ("p90_ns", "lowest latency"),
    ("throughput", "highest throughput"),
    ("quality", "highest quality"),
    ("device", "device"),
    ("platform", "platform"),
    ("framework", "framework"),
    ("benchmark", "task"),
    ("grade", "grade"),
)
SAME_DEVICE = (
    "same device, by the name that A and B have: two devices of one model and system have it too"
)
FILTERS = ("device", "framework", "task", "platform", "since", "until")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
"""A report draws its charts by a script of its own, in a place from which it reaches nothing else here."""


def routes(history: History) -> list[Route]:
    """Routes of the pages of this history."""

    def results(request: Request) -> Response:
        return _results(history, request)

    def compared(request: Request) -> Response:
        return _compared(history, request)

    def report(request: Request) -> Response:
        return _report(history, str(request.path_params["run"]))

    def data(request: Request) -> Response:
        return _data(history, request)

    return [
        Route("/results", results),
        Route("/results/compare", compared),
        Route("/results/{run}/report", report),
        Route("/api/results", data),
    ]


def _asked(request: Request) -> tuple[Wanted, str]:
    """The filters and the column that are asked for; unknown queries are passed over."""
    query = request.query_params
    wanted = Wanted(**{name: query.get(name, "").strip()[:100] for name in FILTERS})
    return wanted, query.get("sort") or SORTED_BY[0]


def _results(history: History, request: Request, *, refused: str = "", root: str = "") -> Response:
    """The page of results.

    Args:
        history: Where they are.
        request: With filters and sorting.
        refused: Why what was asked for from this page cannot be.
        root: From the request's address to the folder that the page is in.
    """
    notes = history.refresh()
    wanted, sort = _asked(request)
    rows: list[ResultRow] = []
    errors = [refused] if refused else []
    try:
        rows = history.rows(
            wanted, sort=sort, descending=sort in HIGHEST_FIRST, limit=MOST_ROWS + 1
        )
    except UsageError as error:
        errors.append(str(error))
    if len(rows) > MOST_ROWS:
        notes = (
            *notes,
            f"only the first {MOST_ROWS} are shown: narrow the filters, or take the CSV",
        )
    asked = {name: value for name, value in vars(wanted).items() if value}
    if sort != SORTED_BY[0]:
        asked["sort"] = sort
    text = _page(
        "mobile_results.html",
        rows=[cells_of(row) for row in rows[:MOST_ROWS]],
        root=root,
        wanted=wanted,
        asked=asked,
        ticked=request.query_params.getlist("pick"),
        query=urlencode(asked),
        sort=sort,
        sortings=SORTINGS,
        devices=history.values("device"),
        platforms=history.values("platform"),
        tasks=history.values("benchmark"),
        notes=notes,
        errors=errors,
    )
    return _html(text, 422 if errors else 200)


def _compared(history: History, request: Request) -> Response:
    notes = history.refresh()
    query = request.query_params
    ticks = query.getlist("pick")
    try:
        if ticks:
            chosen = of_ticks(history, ticks)
        else:
            chosen = of_names(history, [query.get("a", ""), query.get("b", "")])
    except UsageError as error:
        return _results(history, request, refused=str(error), root="../")
    sides = chosen.first, chosen.second
    shown = [list(newest(side).values()) for side in sides]
    titles = [side[0].device for side in sides]
    same = titles[0] == titles[1]
    found = pairs(*sides, history)
    text = _page(
        "mobile_compare.html",
        heading=f"{titles[0]}, same device: A against B" if same else " against ".join(titles),
        compared=chosen.words,
        sessions=urlencode(dict(zip("ab", chosen.sessions, strict=False))),
        sides=[
            (letter, title, list(dict.fromkeys(row.setup for row in rows)), _measured(rows))
            for letter, title, rows in zip("AB", titles, shown, strict=True)
        ],
        pairs=found,
        caveats=list(dict.fromkeys(note for pair in found for note in pair.notes)),
        notes=(*notes, *([SAME_DEVICE] if same else []), *_apart(*shown)),
    )
    return _html(text)


def _measured(rows: Sequence[ResultRow]) -> list[str]:
    """When a side was measured and under which name, so that two sides of one device can be told apart."""
    times = sorted(cells_of(row).when for row in rows)
    if not times:
        return []
    span = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
    runs, sessions = (
        list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("run", "session")
    )
    kind, names = ("run", runs) if len(runs) == 1 else ("session", sessions)
    return [f"measured {span} UTC", *(f"{kind} {name}" for name in names)]


def _apart(first: Sequence[ResultRow], second: Sequence[ResultRow]) -> list[str]:
    """What differs between two sides besides the device, and a reader should know."""
    found = []
    for words, key in (("rules", "rules"), ("precision", "precision"), ("browser", "browser")):
        mine, theirs = ({getattr(row, key) or "none" for row in side} for side in (first, second))
        if mine != theirs:
            found.append(f"{words}: A {', '.join(sorted(mine))}; B {', '.join(sorted(theirs))}")
    if any(not row.official for row in (*first, *second)):
        found.append("stand-in data: these figures are not comparable with published ones")
    return found


def _report(history: History, run: str) -> Response:
    """The run's report, made if it is missing or older than the run's record."""
    folder = history.run_folder(run)
    if folder is None:
        history.refresh()
        folder = history.run_folder(run)
    if folder is None:
        raise HTTPException(404, f"no run {run[:80]!r}")
    opened = Run.open(folder)
    path = folder / "report.html"
    if opened.status == "running":
        return _html(render([opened]), policy=REPORT_POLICY)
    if not path.exists() or path.stat().st_mtime_ns < (folder / RUN_FILE).stat().st_mtime_ns:
        try:
            write_report([opened], path)
        except RunFolderError:  # a folder that may only be read
            return _html(render([opened]), policy=REPORT_POLICY)
    return _html(path.read_text(encoding="utf-8"), policy=REPORT_POLICY)


def _data(history: History, request: Request) -> Response:
    notes = history.refresh()
    wanted, sort = _asked(request)
    form = request.query_params.get("format", "json")
    if form not in ("json", "csv"):
        raise UnknownNameError("format", form, ("json", "csv"))
    rows = history.rows(wanted, sort=sort, descending=sort in HIGHEST_FIRST)
    if form == "json":
        return JSONResponse(as_json(rows, notes), headers={"Cache-Control": "no-store"})
    return Response(
        as_csv(rows),
        media_type="text/csv; charset=utf-8",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="gnomon-results.csv"',
        },
    )


def _html(text: str, status: int = 200, policy: str = PAGE_POLICY) -> Response:
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(text, status, headers)


def _page(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(version=__version__, **values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gnomon.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = value_text
    return environment
