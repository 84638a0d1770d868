"""`sri config`: mistakes in YAML files, and what these files may say."""

from __future__ import annotations

from pathlib import Path

import click

from sri_sdk.cli.output import emit_json
from sri_sdk.config.load import load_any
from sri_sdk.config.schema import KINDS, schema
from sri_sdk.errors import ConfigError


@click.group()
def command() -> None:
    """Check YAML files, or print their schema."""


@command.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Report every mistake in FILE... as `file: path: problem`. Needs no model weights.

    A file with the key `models` is an evaluation, for `sri eval`; any other is for `sri fit` and `sri run`.
    """
    problems = {str(file): _problems(file) for file in files}
    if as_json:
        emit_json([{"file": file, "ok": not found, "problems": found} for file, found in problems.items()])
    for file, found in problems.items():
        for problem in found:
            click.echo(f"error: {problem}", err=True)
        if not found and not as_json:
            click.echo(f"{file}: ok")
    if any(problems.values()):
        ctx.exit(1)


@command.command("schema")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="fit",
    show_default=True,
    help="The file of a deployment, for `sri fit` and `sri run`; or of an evaluation, for `sri eval`.",
)
def print_schema(kind: str) -> None:
    """Print the JSON schema of a file format, with the options of the installed plugins."""
    emit_json(schema(kind))


def _problems(file: Path) -> list[str]:
    try:
        load_any(file)
    except ConfigError as err:
        return list(err.problems)
    return []
