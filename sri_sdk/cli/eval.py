"""`sri eval`: the analysis of the paper, and more, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import emit_json, say, say_lines, table, visible
from sri_sdk.cli.workers import executor_of, worker_options

if TYPE_CHECKING:
    from sri_sdk.metrics.cells import Cell
    from sri_sdk.metrics.results import Evaluation, ModelResult


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--limit", type=click.IntRange(min=1), help="At most this many prompts per group, for a quick look; default: all."
)
@click.option("--model", "models", multiple=True, help="Only this model of CONFIG; repeatable. Default: all.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to, instead of the one in CONFIG.")
@worker_options
@click.option("--json", "as_json", is_flag=True, help="Print all results as one JSON document.")
def command(
    config: Path, limit: int | None, models: tuple[str, ...], out: Path | None, workers: int | None, ray: str | None,
    patience: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Attack the models of CONFIG, compare guards, and write a report.

    Interrupted, it continues where it stopped. Without --limit it may take hours; the bars say how long.
    """
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.config.load import load_evaluation

    checked = load_evaluation(config)
    if out is not None:
        checked = checked.model_copy(update={"out": out})
    prepare_libraries()
    executor = executor_of(workers, ray, patience)
    from sri_sdk.evaluation.evaluate import evaluate
    from sri_sdk.metrics.results import to_json
    from sri_sdk.report import write_evaluation

    with progress_bars() as progress:
        found = evaluate(checked, progress, limit=limit, only=models, executor=executor)
    paths = write_evaluation(found, Path(checked.out))
    if as_json:
        emit_json(to_json(found))
        return
    say_lines(describe(found))
    say_lines("")
    say(f"report: {paths[0]}   numbers: {Path(checked.out) / 'results.json'}")


SHOWN = ("AUROC", "TPR at 1 % FPR", "Attacks removed", "False alarms", "Overhead")
"""Rows of the guard table that a terminal has room for."""


def describe(found: Evaluation) -> str:
    """The tables a person wants first: each number with its 95 % interval."""
    from sri_sdk.metrics.guard_table import guard_table, unguarded
    from sri_sdk.report.evaluation_tables import models

    made = models(found)
    parts = [table(made.columns, [[row[0].value, *map(_text, row[1:])] for row in made.rows])]
    for model in found.models:
        parts.append(_counters(model))
        if model.guards:
            made = guard_table(model)
            rows = [[row[0].value, *map(_text, row[1:])] for row in made.rows if row[0].value in SHOWN]
            # One guard a line: there may be more guards than measures.
            turned = table(
                ("guard", *(row[0] for row in rows)), zip(made.columns[1:], *(row[1:] for row in rows), strict=True)
            )
            parts.append("\n".join(filter(None, (f"{visible(made.title)}\n", turned, visible(unguarded(model))))))
        parts += [found for found in (_strict(model), _beyond(model)) if found]
    if claims := _steering(found):
        parts.append(claims)
    if found.limit is not None:
        parts.append(f"A quick look: at most {found.limit} prompts per group. Mind the intervals in the report.")
    return "\n\n".join(parts)


def _counters(model: ModelResult) -> str:
    """What could make a model's results worthless, over all its groups."""
    from sri_sdk.fitting.counters import rows, total

    unscored = [
        (f"not scored by {guard.name}", f"{guard.unscored:,}", "generations have no score, and count as not flagged")
        for guard in model.guards
        if guard.unscored
    ]
    shown = table(("counter", "k / n", "meaning"), [*rows(total(model.counters)), *unscored])
    return f"{visible(model.name)}: what nothing can be said about\n\n{shown}"


def _strict(model: ModelResult) -> str:
    """The strict rule, without the column of the moved threshold; empty = it was not asked for."""
    from sri_sdk.report.strict_tables import strict

    made = strict(model)
    rows = [[row[0].value, *map(_text, row[1:-1])] for row in made.rows]
    shown = table(list(map(visible, made.columns[:-1])), rows)
    return f"{visible(made.title)}\n\n{shown}" if rows else ""


def _beyond(model: ModelResult) -> str:
    """Removed minus false alarms in the same wrapper, one guard a line; empty = there were no harmless twins."""
    from sri_sdk.report.strict_tables import beyond

    made = beyond(model)
    if not made.rows:
        return ""
    columns = [visible(column) for column in made.columns]
    turned = [[columns[at], *(row[at].value for row in made.rows)] for at in range(1, len(columns))]
    shown = table(["guard", *(visible(row[0].value) for row in made.rows)], turned)
    return f"{visible(made.title)}\n\n{shown}\n{visible(made.note)} The report has the intervals."


def _steering(found: Evaluation) -> str:
    """The verdict on each claim of steering, model by model; empty = nothing was steered."""
    from sri_sdk.report.steering_tables import claims

    made = claims(found)
    rows = [[visible(row[0].note), *(_text(cell) for cell in row[1:])] for row in made.rows]
    return f"{visible(made.title)}\n\n{table(list(map(visible, made.columns)), rows)}" if rows else ""


def _text(cell: Cell) -> str:
    """`62.1 % (58.3 to 65.7)`."""
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value
