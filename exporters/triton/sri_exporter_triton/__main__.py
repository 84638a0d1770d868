"""`python -m sri_exporter_triton`: a repository from a bundle, and the golden vectors of a running server."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from sri_sdk import SriError
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.errors import ConfigError
from sri_sdk.scoring.scorer import load_graphs
from sri_sdk.scoring.self_test import self_test
from sri_sdk.strict_json import parse

from .client import Client
from .options import Options
from .repository import graphs_of, model_name, write_repository
from .served import check_served

a_bundle = click.argument("bundle", type=click.Path(path_type=Path))
trust = [
    click.option("--public-key", type=click.Path(path_type=Path), help="PEM file of who must have signed the bundle."),
    click.option("--digest", metavar="HEX", help="The digest the bundle must have."),
]
which = [
    click.option("--name", default="sri", show_default=True, help="Beginning of the models' names."),
    click.option("--full", is_flag=True, help="Also the model that takes activations: a secret."),
    click.option("--step", is_flag=True, help="Also the model that takes one step at a time: a secret."),
]


def main() -> None:
    """The command line, with what a user can mend as one line."""
    try:
        command(standalone_mode=True, prog_name="python -m sri_exporter_triton")
    except SriError as err:
        raise SystemExit(f"error: {err}") from err


@click.group()
def command() -> None:
    """Serve a guard with NVIDIA Triton. BUNDLE is a folder, or its zip."""


@command.command()
@a_bundle
@click.argument("target", type=click.Path(path_type=Path))
@trust[0]
@trust[1]
@which[0]
@which[1]
@which[2]
@click.option("--option", "more", multiple=True, metavar="KEY=NUMBER", help="max_batch, instances, ...; the README.")
def write(
    bundle: Path, target: Path, public_key: Path | None, digest: str | None, name: str, full: bool, step: bool,
    more: tuple[str, ...],
) -> None:  # fmt: skip
    """Check BUNDLE and write its model repository to TARGET, which must not exist yet."""
    if target.exists():
        # A repository often holds the models of others.
        raise click.UsageError(f"{target}: exists already. Give a new folder, and move it when it is written.")
    options = _options({"name": name, "full": full, "step": step, **_pairs(more)})
    # Triton inspects nothing: whatever is refused must be refused now.
    checked = Bundle.read(bundle, public_key=public_key, digest=digest)
    self_test(checked, load_graphs(checked, graphs_of(options)))
    write_repository(target, checked, options)
    click.echo(f"{target}: {', '.join(model_name(graph, name) for graph in graphs_of(options))}")
    click.echo(f"{target}: guard {checked.digest}")
    if not (public_key or digest):
        click.echo(f"{bundle}: whose it is was not checked; give --public-key or --digest")


@command.command()
@click.argument("url")
@a_bundle
@trust[0]
@trust[1]
@which[0]
@which[1]
@which[2]
@click.option("--token-file", type=click.Path(path_type=Path), help="File with a bearer token on its first line.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM file of who signed the server's certificate.")
def check(
    url: str, bundle: Path, public_key: Path | None, digest: str | None, name: str, full: bool, step: bool,
    token_file: Path | None, ca_file: Path | None,
) -> None:  # fmt: skip
    """Ask the server at URL for the golden vectors of BUNDLE; exit with 1 if it answers anything else."""
    options = _options({"name": name, "full": full, "step": step})
    expected = Bundle.read(bundle, public_key=public_key, digest=digest)
    client = Client(url, token=None if token_file is None else _token(token_file), ca_file=ca_file)
    for graph, share in check_served(client, expected, graphs_of(options), name).items():
        click.echo(f"{model_name(graph, name)}: agrees, largest difference {share:.2%} of the tolerance")


def _token(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read as a token ({type(err).__name__}). Give a file with one.") from err
    if not token.isprintable() or not token or " " in token:
        raise ConfigError(f"{path}: its first line is no token. Write one word of printable characters there.")
    return token


def _pairs(more: tuple[str, ...]) -> dict[str, object]:
    return {key: _value(text) for key, _, text in (pair.partition("=") for pair in more)}


def _value(text: str) -> object:
    """A number or true and false as such, as in a YAML file; anything else is text."""
    try:
        return parse(text)
    except ValueError:
        return text


def _options(given: dict[str, object]) -> Options:
    try:
        return Options.model_validate(given)
    except ValidationError as err:
        problems = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in err.errors())
        raise click.UsageError(f"{problems}. Allowed options: {', '.join(Options.model_fields)}.") from err


if __name__ == "__main__":
    main()
