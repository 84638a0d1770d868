"""`sri plugins`: what is installed, and a package to start a new plugin from."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from sri_sdk import registry
from sri_sdk.cli.output import emit_json, say, say_lines, table, visible
from sri_sdk.cli.scaffold import KINDS, SCHEMES, folder, write_plugin
from sri_sdk.errors import SriError


@click.group()
def command() -> None:
    """List the plugins that are installed, or start a new one."""


@command.command("list")
@click.option("--kind", type=click.Choice(list(registry.KINDS)), help="Only this kind.")
@click.option("--check", is_flag=True, help="Load each plugin too, and exit with 1 if one fails.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_plugins(ctx: click.Context, kind: str | None, check: bool, as_json: bool) -> None:
    """List plugins by kind and name. Without --check nothing is imported."""
    plugins = registry.installed(kind)
    problems = {info: _load_problem(info) for info in plugins} if check else {}
    if as_json:
        emit_json([{**asdict(info), **({"problem": problems[info]} if check else {})} for info in plugins])
    else:
        headers = ["KIND", "NAME", "TARGET", "DISTRIBUTION", "VERSION", *(["LOADS"] if check else [])]
        rows = [
            [x.kind, x.name, x.target, x.distribution, x.version, *([_mark(problems[x])] if check else [])]
            for x in plugins
        ]
        say_lines(table(headers, rows) if rows else "no plugins installed")
    failed = [problem for problem in problems.values() if problem]
    for problem in failed:
        say(f"error: {problem}", err=True)
    if failed:
        ctx.exit(1)


@command.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="Kind of plugin.")
@click.option(
    "--scheme", type=click.Choice(SCHEMES), help="With --kind hook: how the model generates. [default: masked]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make. [default: ./sri-plugin-NAME]"
)
def new_plugin(name: str, kind: str, scheme: str | None, out: Path | None) -> None:
    """Write a plugin package that installs and passes `sri check` as it is; then make it yours.

    NAME is what users will type in YAML: lower case, words joined by hyphens.
    """
    if scheme and kind != "hook":
        raise click.UsageError(f"--scheme is for --kind hook only; a {kind} has no scheme to choose.")
    target = out or Path(folder(name))
    written = write_plugin(name, kind, target, scheme or SCHEMES[0])
    say(f"wrote {target}:")
    for path in written:
        say(f"  {path}")
    quoted = visible(shlex.quote(str(target)))
    say_lines(f"next:\n  pip install -e {quoted}")
    say_lines(f"  sri plugins list --check --kind {kind}s\n  sri check {kind} {name}")
    say(f"  pytest {quoted}")


def _load_problem(info: registry.PluginInfo) -> str | None:
    """Why a plugin cannot be loaded; None = it can."""
    try:
        registry.load(info.kind, info.name)
    except SriError as err:
        return str(err)
    return None


def _mark(problem: str | None) -> str:
    return "no" if problem else "yes"
