"""`sri eval`: the analysis of the paper, and more, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import emit_json, table

if TYPE_CHECKING:
    from sri_sdk.metrics.rates import Rate
    from sri_sdk.metrics.results import Evaluation, ModelResult


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--limit", type=click.IntRange(min=1), help="At most this many prompts per group, for a quick look; default: all."
)
@click.option("--model", "models", multiple=True, help="Only this model of CONFIG; repeatable. Default: all.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to, instead of the one in CONFIG.")
@click.option("--json", "as_json", is_flag=True, help="Print all results as one JSON document.")
def command(config: Path, limit: int | None, models: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Attack the models of CONFIG, compare guards, and write a report.

    Interrupted, it continues where it stopped. Without --limit it may take hours; the bars say how long.
    """
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.config.load import load_evaluation

    checked = load_evaluation(config)
    if out is not None:
        checked = checked.model_copy(update={"out": out})
    prepare_libraries()
    from sri_sdk.evaluation.evaluate import evaluate
    from sri_sdk.metrics.results import to_json
    from sri_sdk.report.write_evaluation import write_evaluation

    with progress_bars() as progress:
        found = evaluate(checked, progress, limit=limit, only=models)
    paths = write_evaluation(found, Path(checked.out))
    if as_json:
        emit_json(to_json(found))
        return
    click.echo(describe(found))
    click.echo(f"\nreport: {paths[0]}   numbers: {Path(checked.out) / 'results.json'}")


def describe(found: Evaluation) -> str:
    """The tables a person wants first."""
    parts = [_models(found), *(_guards(model) for model in found.models if model.guards)]
    if found.limit is not None:
        parts.append(f"A quick look: at most {found.limit} prompts per group. Mind the intervals in the report.")
    return "\n\n".join(parts)


def _models(found: Evaluation) -> str:
    rows = []
    for model in found.models:
        rows.append(
            (
                model.name,
                _share(model.refused_harmless),
                _share(model.refused_harmful),
                _share(model.success),
                _share(model.recovery.get("HRR")),
                _share(model.internal_recovery.get("0.5")),
            )
        )
    return table(("model", "refused harmless", "refused harmful", "attack success", "HRR", "IRR 0.5"), rows)


def _guards(model: ModelResult) -> str:
    rows = []
    for guard in model.guards:
        area = guard.auroc
        rows.append(
            (
                guard.name,
                f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f})" if area else "not measured",
                _share(guard.tpr.get("0.01")),
                _share(guard.false_alarm),
                _share(guard.removed),
                "not measured" if guard.overhead is None else f"{100 * guard.overhead:.3g} %",
            )
        )
    head = ("guard", "AUROC (95 %)", "TPR at 1 % FPR", "false alarms", "attacks removed", "overhead")
    left_out = [f"{name}: not compared. {why}" for name, why in model.guard_notes.items()]
    return "\n".join([f"guards on {model.name}\n", table(head, rows), *left_out])


def _share(rate: Rate | None) -> str:
    """`71.0 % (71 of 100)`."""
    if rate is None or not rate.n:
        return "not measured"
    return f"{100 * rate.value:.1f} % ({rate.k} of {rate.n})"
