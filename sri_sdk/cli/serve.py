"""`sri serve`: verdicts over the network, without torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sri_sdk.cli.output import say

if TYPE_CHECKING:
    from sri_sdk.serve.build import Built

DEFAULT_NAME = "sri"
"""Of the only bundle, if it is given without one: as the exporter `triton` names its models."""


@click.command()
@click.argument("bundles", metavar="[[NAME=]BUNDLE]...", nargs=-1)
@click.option(
    "--config", type=click.Path(path_type=Path), help="YAML file of the server; options here count more, each alone."
)
@click.option("--host", help="Address to listen on, also of --grpc-port; 127.0.0.1 unless the file says otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 8000 at first, 0 = any free one.")
@click.option("--uds", type=click.Path(path_type=Path), help="Unix socket to listen on instead.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Also serve gRPC there; needs the extra `grpc`.")
@click.option("--tokens", type=click.Path(path_type=Path), help="File of bearer tokens, one a line.")
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token, also where other machines reach the server.")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    help="PEM file of who must have signed each BUNDLE, and every bundle of the file that names no key.",
)
@click.option("--digest", metavar="HEX", help="The digest the only bundle must have.")
def command(
    bundles: tuple[str, ...], config: Path | None, host: str | None, port: int | None, uds: Path | None,
    grpc_port: int | None, tokens: Path | None, no_auth: bool, public_key: Path | None, digest: str | None,
) -> None:  # fmt: skip
    """Serve BUNDLEs, folders or zip files, to clients of the Open Inference Protocol.

    Options are laid over the file one by one: a BUNDLE that the file names too keeps its trust and its shadow.
    --public-key counts for every bundle whose trust names no key of its own.

    Models are NAME_signal and NAME_prefix, as in a repository of Triton; a single BUNDLE without a name is `sri`.
    SIGTERM drains and ends; SIGHUP reads tokens and bundles again.
    """
    from sri_sdk.serve.hangups import Hangups

    # Before anything that takes time: SIGHUP ends a process that does not ask for it.
    with Hangups():
        _serve(bundles, config, host, port, uds, grpc_port, tokens, no_auth, public_key, digest)


def _serve(
    bundles: tuple[str, ...], config: Path | None, host: str | None, port: int | None, uds: Path | None,
    grpc_port: int | None, tokens: Path | None, no_auth: bool, public_key: Path | None, digest: str | None,
) -> None:  # fmt: skip
    from sri_sdk.serve.server import serve
    from sri_sdk.serve.settings import read_settings

    over: dict[str, Any] = {"bundles": _named(bundles)} if bundles else {}
    given = {"host": host, "port": port, "uds": uds, "tokens": tokens, "no_auth": no_auth or None}
    over |= {name: value for name, value in given.items() if value is not None}
    if uds is not None and (host is not None or port is not None):
        raise click.UsageError("--uds listens on a socket instead of --host and --port; leave one of them out")
    if host is not None or port is not None:
        # The file's socket would win over them.
        over["uds"] = None
    if grpc_port is not None:
        over["grpc"] = {"port": grpc_port, **({"host": host} if host else {})}
    settings = read_settings(config, over, public_key=public_key, digest=digest)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It lists its own plugins.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    serve(settings, started=_started)


def _named(bundles: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in bundles:
        name, equals, path = each.partition("=")
        name, path = (name, path) if equals else (DEFAULT_NAME, each)
        if name in found:
            raise click.UsageError(f"two bundles are named {name!r}; write NAME=BUNDLE for each")
        found[name] = {"path": Path(path)}
    return found


def _started(address: str, built: Built) -> None:
    for name, entry in built.shelf.entries.items():
        if entry.live is not None:
            say(f"{name}: version {entry.live.number}, guard {entry.live.digest}")
            if not entry.live.scorer.bundle.trusted:
                say(f"{name}: whose it is was not checked; give --public-key or --digest", err=True)
    if built.grpc_port is not None:
        say(f"gRPC on port {built.grpc_port}")
    say(f"serving on {address}")
