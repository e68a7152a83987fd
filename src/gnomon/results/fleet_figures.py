"""The figures of a federation, in words: for the terminal's table and for the report."""

from __future__ import annotations

from typing import Any

from gnomon.core.units import format_count, format_dollars, format_energy, format_seconds


def fleet_figures(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, text) in order, the headline first."""
    metric, gamma = result["metric"], result["gamma"]
    most, estimation = result["most_used"], result["estimation"]
    value = metric["value"]
    rows = [
        (metric["name"], "not reached" if value is None else format_dollars(value)),
        ("gamma", f"{gamma:g}: ${1 - gamma:g} a second, ${gamma:g} a joule"),
        ("K, clients a round", _choice(result, most, "clients_per_round")),
        ("E, local iterations", _choice(result, most, "local_iterations")),
        ("rounds", format_count(result["rounds"])),
        ("loss", _loss(result)),
    ]
    if result["quality"] is not None:
        rows.append(("accuracy", f"{result['quality']:.4f}"))
    rows += [
        ("time", format_seconds(result["duration_s"])),
        ("energy", format_energy(result["energy_j"])),
        ("cost", format_dollars(result["cost"])),
        ("reports used", f"{100 * result['reported']:.1f} %"),
        ("estimation overhead", _overhead(estimation)),
        ("regret", _regret(result["regret"])),
    ]
    return rows


def fleet_headline(result: dict[str, Any]) -> str:
    """The cost to the target."""
    return fleet_figures(result)[0][1]


def _choice(result: dict[str, Any], most: dict[str, Any], name: str) -> str:
    """The last choice, and the usual one if that was another."""
    last, usual = result[name], most[name]
    if last == usual:
        return str(last)
    return f"{last} at the end, {usual} in most training rounds ({most['rounds']})"


def _loss(result: dict[str, Any]) -> str:
    loss, target, initial = result["loss"], result["target_loss"], result["initial_loss"]
    text = "not finite" if loss is None else f"{loss:.4f}"
    if target is not None:
        text += f", target {target:.4f}"
    return text if initial is None else f"{text}, at first {initial:.4f}"


def _overhead(estimation: dict[str, Any]) -> str:
    if not estimation["rounds"]:
        return "none: no rounds were run to estimate"
    return (
        f"{100 * estimation['share_of_cost']:.1f} % of the cost ({format_dollars(estimation['cost'])}, "
        f"{estimation['rounds']} rounds, {format_seconds(estimation['duration_s'])}, "
        f"{format_energy(estimation['energy_j'])})"
    )


def _regret(regret: dict[str, Any] | None) -> str:
    if regret is None:
        return "not known: pass a finished grid with --grid"
    return (
        f"{100 * regret['share']:+.1f} % against K {regret['best_clients_per_round']}, E "
        f"{regret['best_local_iterations']}, the best of {regret['points']} grid points at "
        f"{format_dollars(regret['best_cost'])}; {100 * regret['share_of_training']:+.1f} % without the "
        f"estimation"
    )
