"""Writes the tables of `benchmarks/store.md` from the numbers beside it: `python -m benchmarks.store.tables`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sri_sdk.files import write_text
from sri_sdk.strict_json import parse

FOLDER = Path(__file__).parents[1]
PAGE = FOLDER / "store.md"
Lines = Iterator[str]


def queries(found: Mapping[str, Any]) -> Lines:
    """Of `store.json`: what pages ask."""
    yield "| page | first, ms | median, ms | processor, ms |"
    yield "|---|---|---|---|"
    for name, page in found["pages"].items():
        yield f"| {name} | {page['first_ms']:.0f} | {page['median_ms']:.0f} | {page['processor_ms']:.0f} |"


def sizes(found: Mapping[str, Any]) -> Lines:
    """Of `store.json`: bytes."""
    yield "| an observation | bytes |"
    yield "|---|---|"
    for name, size in found["sizes"].items():
        yield f"| {name} | {size:,} |"


def dashboard(found: Mapping[str, Any]) -> Lines:
    """Of `store-dashboard.json`: whole pages of the dashboard."""
    yield f"| page, over {found['rows']:,} rows | first, ms | median of {found['rounds']}, ms | processor, ms | KB |"
    yield "|---|---|---|---|---|"
    for path, page in found["pages"].items():
        # Digests and ids are long, and each is like any other.
        name = re.sub(r"[0-9a-f]{32,}", lambda digest: f"{digest[0][:6]}…", path)
        times = " | ".join(f"{page[each]:.0f}" for each in ("first_ms", "median_ms", "processor_ms"))
        yield f"| `{name}` | {times} | {page['bytes'] / 1000:.0f} |"


def batches(found: Mapping[str, Any]) -> Lines:
    """Of `store-batches.json`: single commits against batches."""
    said = {
        "single_ms": "one by one, ms per observation",
        "batched_ms": f"in batches of {found['batch']}, ms per observation",
        "gain": "**gain**",
        "single_processor_ms": "one by one, ms of this process's processor",
        "batched_processor_ms": "batched, the same",
        "processor_gain": "gain in time of the processor",
    }
    databases = found["databases"]
    yield f"| n = {found['rounds']} rounds | " + " | ".join(_NAMES[name] for name in databases) + " |"
    yield "|---|" + "---|" * len(databases)
    for name, words in said.items():
        cells = [_interval(database[name], "x" if "gain" in name else "") for database in databases.values()]
        yield f"| {words} | {' | '.join(cells)} |"
    yield f"| a synced write of 4 KB alone, ms | {_interval(found['synced_write_ms'], '')} |" + " |" * (
        len(databases) - 1
    )


_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
TABLES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Lines]]] = {
    "queries": ("store.json", queries),
    "sizes": ("store.json", sizes),
    "dashboard": ("store-dashboard.json", dashboard),
    "batches": ("store-batches.json", batches),
}
"""Name of a table -> the file of its numbers, and what makes it. On the page it stands below `<!-- NAME -->`."""


def written(page: str) -> str:
    """The page with every table as its numbers have it."""
    for name, (file, made) in TABLES.items():
        mark, table = f"<!-- {name} -->\n\n", "\n".join(made(parse((FOLDER / file).read_bytes())))
        before, found, after = page.partition(mark)
        if not found or mark in after:
            sys.exit(f"{PAGE.name}: needs one line {mark.strip()}, and an empty one below it, for the table {name!r}.")
        page = before + mark + table + "\n" + re.sub(r"^(?:\|.*\n)*", "", after)
    return page


def _interval(spread: Mapping[str, float], unit: str) -> str:
    median, low, high = (f"{spread[name]:.3g}{unit}" for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


if __name__ == "__main__":
    write_text(PAGE, written(PAGE.read_text(encoding="utf-8")))
