"""The tables of reference.md, from the numbers in reference.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.real.reference_compare import CASES, OURS, WAYS

Numbers = Mapping[str, Any]
ENOUGH_ROUNDS = 5
TITLES = {"reference": "the reference", "alone": "ours, one by one", "batch": "ours, batches of 8"}
CASE_TITLES = {
    "generations": "usual generations",
    "anchors": "the anchors themselves, as if a generation",
    "only": "a generation that is the only one of its class, so it *is* an anchor",
}


def with_tables(page: str, found: Numbers) -> str:
    """The page with every table between its two marks replaced."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        places = re.findall(re.escape(begin) + ".*?" + re.escape(end), page, flags=re.S)
        if len(places) != 1:
            raise ValueError(f"reference.md: {len(places)} places for the table {name!r}, exactly one is needed")
        page = page.replace(places[0], "\n".join([begin, *table(found), "", end]))
    return page


def run_line(found: Numbers) -> list[str]:
    """What was run, where."""
    model, versions, load = found["model"], found["versions"], found["load"]
    shape = f"{model['architectures'][0]}, {model['num_hidden_layers']} layers of width {model['hidden_size']}"
    hasty = found["rounds"] < ENOUGH_ROUNDS or max(load) > found["cores"]
    warning = ["**A first look**: few rounds, or more work than cores. Repeat it on an idle machine."] if hasty else []
    return [
        f"{found['rounds']} rounds of {found['each']} harmless and {found['each']} declined prompts, greedy, "
        f"32 tokens. Model: {shape}, float32.",
        f"One thread of {found['cores']} cores, load average {load[0]} at the start and {load[1]} at the end; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f". Reference at commit `{found['reference']['commit'][:7]}`.",
        *warning,
    ]


def cost(found: Numbers) -> list[str]:
    """Time and memory."""
    lines = [
        "| | CPU s per generation | times less CPU | peak memory, MiB | times less memory |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        mine, ratios = found["cost"][way], found["ratios"].get(way, {})
        cells = [
            _spread(mine["cpu_seconds_per_generation"]), _spread(ratios.get("cpu"), "x"),
            _spread(mine["peak_mib"]), _spread(ratios.get("peak"), "x"),
        ]  # fmt: skip
        lines.append(f"| {TITLES[way]} | {' | '.join(cells)} |")
    return lines


def agreement(found: Numbers) -> list[str]:
    """Largest differences from the reference."""
    rows: dict[str, Callable[[str], str]] = {
        "prompts with other tokens": lambda way: _of(found["tokens"][way], "prompts_different"),
        "responses with other tokens": lambda way: _of(found["tokens"][way], "responses_different"),
        "states, one number": lambda way: _number(found["states"][way]["largest"]),
        "states, share of the vector's length": lambda way: _number(found["states"][way]["largest_share"]),
        "states compared": lambda way: f"{found['states'][way]['states']:,}",
        "anchors, one number": lambda way: _number(found["anchors"][way]["largest"]),
        "anchors, share of the vector's length": lambda way: _number(found["anchors"][way]["largest_share"]),
        "sigma": lambda way: _number(found["signals"][way]["largest"]),
        "sigmas compared, of these between 0.01 and 0.99": lambda way: (
            f"{found['signals'][way]['values']:,}, {found['signals'][way]['between']:,}"
        ),
    }
    lines = [f"| largest difference of | {' | '.join(TITLES[way] for way in OURS)} |", "|---|---|---|"]
    return lines + [f"| {title} | {' | '.join(cell(way) for way in OURS)} |" for title, cell in rows.items()]


def missing(found: Numbers) -> list[str]:
    """NaNs, and the error where there is a number."""
    head = " | ".join(TITLES[way] for way in WAYS)
    lines = [f"| steps that are NaN | signals | {head} |", "|---|---|---|---|---|"]
    for case in CASES:
        rows = found["nan"][case]
        cells = [_nan(rows[way]) for way in WAYS]
        lines.append(f"| {CASE_TITLES[case]} | {rows['reference']['signals']} | {' | '.join(cells)} |")
    return lines


def errors(found: Numbers) -> list[str]:
    """Against float64."""
    lines = ["| | largest error of sigma | smallest distance to an anchor |", "|---|---|---|"]
    for way in WAYS:
        row = found["errors"][way]
        lines.append(f"| {TITLES[way]} | {_number(row['largest'])} | {_number(row['nearest_distance'])} |")
    return lines


def _spread(found: Numbers | None, unit: str = "") -> str:
    if found is None:
        return "–"
    return f"{found['median']:.3g}{unit} ({found['low']:.3g} to {found['high']:.3g})"


def _number(value: float) -> str:
    return f"{value:.2g}" if value else "0"


def _of(tokens: Numbers, name: str) -> str:
    return f"{tokens[name]} of {tokens['generations']}"


def _nan(row: Numbers) -> str:
    if not row["nan"]:
        return f"0 of {row['steps']:,}"
    return f"{row['nan']} of {row['steps']:,}, {row['fewest']} to {row['most']} per signal"


TABLES: Mapping[str, Callable[[Numbers], list[str]]] = {
    "run": run_line, "cost": cost, "agreement": agreement, "missing": missing, "errors": errors,
}  # fmt: skip
"""Mark in the page -> what stands there."""
