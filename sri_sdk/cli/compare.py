"""`sri fit --compare`: detectors side by side, in a terminal and as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sri_sdk.cli.output import emit_json, say, say_lines, table, visible

if TYPE_CHECKING:
    from sri_sdk.config.fit import FitConfig
    from sri_sdk.executor import Executor
    from sri_sdk.metrics.cells import Cell, Table
    from sri_sdk.metrics.comparison import Comparison

WIDTH = 130
"""Characters of a line; a wider table is shown in several."""


def compare_detectors(
    config: FitConfig, names: Sequence[str], executor: Executor | None = None, *, as_json: bool
) -> None:
    """Compares detectors on a checked config; prints the tables and writes them to `config.out`."""
    from sri_sdk.cli.bars import progress_bars
    from sri_sdk.fitting.compare import compare
    from sri_sdk.report.comparison import write_comparison

    with progress_bars() as progress:
        found = compare(config, [name.strip() for name in names], progress, executor)
    paths = write_comparison(found, Path(config.out))
    if as_json:
        emit_json(found.to_dict())
        return
    say_lines(describe(found))
    say_lines("")
    say(f"written: {'   '.join(map(str, paths))}")


def describe(found: Comparison) -> str:
    """The tables for a person: each share with its 95 % interval, and n."""
    from sri_sdk.metrics.comparison import WARNING, missing_lines, tables

    parts: list[str] = []
    for made in tables(found):
        parts += [f"{visible(made.title)}", *_blocks(made), visible(made.note)]
    if found.missing:
        parts.append("\n".join(["Not compared", *(f"  {visible(line)}" for line in missing_lines(found))]))
    return "\n\n".join([*parts, WARNING])


def _blocks(made: Table) -> list[str]:
    """A table in parts that fit into a line; the names of the rows lead each of them."""
    columns = [[heading, *(_text(row[at]) for row in made.rows)] for at, heading in enumerate(made.columns)]
    blocks, at = list[str](), 1
    while at < len(columns):
        used, end = len(max(columns[0], key=len)), at
        while end < len(columns) and (end == at or used + 2 + len(max(columns[end], key=len)) <= WIDTH):
            used += 2 + len(max(columns[end], key=len))
            end += 1
        first, *rows = zip(columns[0], *columns[at:end], strict=True)
        blocks.append(table(first, rows))
        at = end
    return blocks


def _text(cell: Cell) -> str:
    """`62.1 % (58.3 to 65.7; 41 of 66)`."""
    return f"{cell.value} ({cell.detail})" if cell.detail else cell.value
