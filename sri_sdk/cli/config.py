"""`sri config`: mistakes in YAML files, and what these files may say."""

from __future__ import annotations

from pathlib import Path

import click

from sri_sdk.cli.output import emit_json, say
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_any
from sri_sdk.config.schema import KINDS, Place, schema, schema_of
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.monitor.reading import is_monitor, read_monitor
from sri_sdk.monitor.settings import MonitorSettings
from sri_sdk.serve.settings import ServeSettings, is_server, read_settings


@click.group()
def command() -> None:
    """Check YAML files, or print their schema."""


@command.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--no-prompts", is_flag=True, help="Check the files only; the prompts are elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], no_prompts: bool, as_json: bool) -> None:
    """Report every mistake in FILE... as `file: path: problem`. Needs no model weights.

    Prompts are read and counted per fold; too few of them, or the same one in two folds, is a mistake. A file with the
    key `models` is an evaluation, for `sri eval`; one with `guard` is for `sri monitor`; one with `bundles`, `store` or
    another key of a server is for `sri serve`; any other is for `sri fit` and `sri run`.
    """
    checked = {str(file): _check(file, not no_prompts) for file in files}
    if as_json:
        emit_json(
            [{"file": file, "ok": not found, "problems": found, "folds": folds, "notes": notes}
             for file, (found, folds, notes) in checked.items()]
        )  # fmt: skip
    for file, (found, folds, notes) in checked.items():
        for problem in found:
            say(f"error: {problem}", err=True)
        if not found and not as_json:
            say(f"{file}: ok")
            for fold, counts in folds.items():
                say(f"  {fold}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
            for note in notes:
                say(f"  note: {note}")
    if any(found for found, _, _ in checked.values()):
        ctx.exit(1)


@command.command("schema")
@click.option(
    "--kind",
    type=click.Choice([*KINDS, "serve", "monitor"]),
    default="fit",
    show_default=True,
    help="The file of a deployment, for `sri fit` and `sri run`; of an evaluation, for `sri eval`; of a server, for "
    "`sri serve`; of a monitor, for `sri monitor`.",
)
def print_schema(kind: str) -> None:
    """Print the JSON schema of a file format, with the options of the installed plugins."""
    if kind == "monitor":
        emit_json(schema_of(MonitorSettings, [Place("sinks", "", "name", "sinks")]))
    else:
        emit_json(ServeSettings.model_json_schema() if kind == "serve" else schema(kind))


def _check(file: Path, with_prompts: bool) -> tuple[list[str], dict[str, dict[str, int]], list[str]]:
    """Every problem of a file, how many prompts of which kind each of its folds has, and what is still to be done."""
    try:
        if is_monitor(file):
            read_monitor(file)
            return [], {}, []
        if is_server(file):
            read_settings(file, {})
            return [], {}, []
        config = load_any(file)
        # After the form: prompts are drawn as the file says.
        return [], _count(config) if with_prompts else {}, _notes(config, file)
    except ConfigError as err:
        found = [problem if problem.startswith(f"{file}: ") else f"{file}: {problem}" for problem in err.problems]
        return found, {}, []
    except SriError as err:
        return [f"{file}: {err}"], {}, []


def _notes(config: FitConfig | EvaluationConfig, file: Path) -> list[str]:
    """What the file needs before it runs. No mistakes: `sri steer extract` reads the file that names its own output."""
    steps = config.policy.recovery if isinstance(config, FitConfig) else ()
    return [
        f"policy.recovery.{number}.direction: {step.direction} is not there, and `sri run` needs it; "
        f"`sri steer extract {file}` makes a direction"
        for number, step in enumerate(steps)
        if step.direction is not None and not step.direction.is_file()
    ]


def _count(config: FitConfig | EvaluationConfig) -> dict[str, dict[str, int]]:
    if isinstance(config, FitConfig):
        from sri_sdk.fitting.prompts import prompts_of

        return prompts_of(config).counts()
    from sri_sdk.evaluation.datasets import Datasets
    from sri_sdk.evaluation.groups import draw_groups
    from sri_sdk.fitting.folds import count_prompts

    return count_prompts(draw_groups(config, Datasets(config)).named())
