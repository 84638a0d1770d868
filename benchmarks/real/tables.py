"""The numbers of `make real` as JSON to keep, and as the tables of the page.

    python -m benchmarks.real.tables out/real/eval/results.json [--speed out/real/speed.json] [--to benchmarks/real]
    python -m benchmarks.real.tables                # the page anew, from the numbers that are kept

It writes `real.json`, and the part of `real.md` between its two marks. What stands around them is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.real import by_set, sections
from benchmarks.real.judged import judged
from benchmarks.real.numbers import condensed
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

HERE = Path(__file__).parent
NUMBERS, PAGE = "real.json", "real.md"
BEGIN, END = "<!-- tables: begin; written by benchmarks/real/tables.py -->", "<!-- tables: end -->"
NOT_YET = "Not measured yet: `make real` writes the tables here."
SECTIONS: Sequence[tuple[str, Callable[[Mapping[str, Any]], Iterator[str]]]] = (
    ("The goals", sections.goals),
    ("What the model does without a guard", sections.outcomes),
    ("The judge's errors taken off", judged),
    ("Harmful requests flagged", sections.removed),
    ("Harmless requests flagged", sections.alarms),
    ("Template by template", sections.by_template),
    ("At the thresholds that ship", sections.shipped),
    ("What the maps say of prompts they had not seen", sections.held_out),
    ("Which harmful requests are found", by_set.table),
    ("Cost of the tap", sections.cost),
    ("Minutes", sections.spent),
    ("Made with", sections.made_with),
)
"""Heading -> what stands under it, line by line, of the numbers that are kept."""


def tables(kept: Mapping[str, Any] | None) -> list[str]:
    """Everything between the two marks; None = nothing was measured."""
    if kept is None:
        return [NOT_YET]
    lines: list[str] = []
    for title, section in SECTIONS:
        lines += ["", f"## {title}", "", *section(kept)]
    return lines[1:]


def page(text: str, kept: Mapping[str, Any] | None) -> str:
    """The page with its tables written anew.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: the marks of its tables are missing; it needs a line {BEGIN!r} and a line {END!r}")
    return f"{before}{BEGIN}\n\n" + "\n".join(tables(kept)) + f"\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Keeps the numbers and writes the page."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.real.tables", description=(__doc__ or "").splitlines()[0]
    )
    options.add_argument("results", type=Path, nargs="?", help="results.json; default: the numbers that are kept")
    options.add_argument("--minutes", type=Path, help="minutes of each stage, as run.py keeps them")
    options.add_argument("--speed", type=Path, help="what speed.py measured, as --json writes it")
    options.add_argument("--by-set", type=Path, help="what by_set.py counted")
    options.add_argument("--to", type=Path, default=HERE, help="folder of real.json and real.md")
    given = options.parse_args(arguments)
    numbers, target = given.to / NUMBERS, given.to / PAGE
    if given.results is not None:
        beside = (given.minutes, given.speed, given.by_set)
        minutes, speed, sets = (parse(file.read_bytes()) if file else None for file in beside)
        made = condensed(parse(given.results.read_bytes()), minutes, speed, sets)
        write_text(numbers, write(made, indent=1) + "\n")
    kept = parse(numbers.read_bytes()) if numbers.is_file() else None
    around = target if target.is_file() else HERE / PAGE
    write_text(target, page(around.read_text(encoding="utf-8"), kept))
    print(f"{numbers} and {target}" if kept else f"{target}: {NOT_YET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
