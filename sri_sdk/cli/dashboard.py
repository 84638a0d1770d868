"""`sri dashboard`: the verdict store in a browser."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from sri_sdk.cli.output import say
from sri_sdk.errors import MissingExtra, missing_package

PORT = 8200
_PACKAGES = ("starlette", "jinja2", "uvicorn", "sqlalchemy", "alembic", "prometheus_client")


@click.command()
@click.argument("store", metavar="STORE")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 = any free one.")
@click.option("--uds", type=click.Path(path_type=Path), help="Unix socket to listen on instead.")
@click.option("--tokens", type=click.Path(path_type=Path), help="File of bearer tokens, one a line, as of `sri serve`.")
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token, also where other machines reach it.")
def command(store: str, host: str, port: int, uds: Path | None, tokens: Path | None, no_auth: bool) -> None:
    """Show STORE in a browser: what is wrong, since when, and what to do.

    STORE is an address such as sqlite:///out/monitor/verdicts.db, or the YAML file of a `sri monitor` or `sri serve`
    that writes one. The dashboard only reads, but for the labels that people give. With --tokens, browsers log in
    once; a token needs the right `read`, and `write` to label. SIGHUP reads the tokens again.
    """
    from pydantic import ValidationError

    from sri_sdk.config.yaml_file import file_error
    from sri_sdk.options import problems
    from sri_sdk.serve.settings import ServeSettings

    asked = {"host": host, "port": port, "uds": uds, "tokens": tokens, "no_auth": no_auth}
    try:
        settings = ServeSettings.model_validate(asked)
    except ValidationError as err:
        raise file_error(Path("sri dashboard"), list(problems(err, ServeSettings))) from err
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        _serve(settings, store)
    except ImportError as err:
        if missing_package(err) not in _PACKAGES:
            raise
        raise MissingExtra("sri dashboard", extra="dashboard") from err


def _serve(settings: Any, place: str) -> None:
    from sri_sdk.dashboard.app import Dashboard, build_dashboard
    from sri_sdk.monitor.stores import open_store
    from sri_sdk.serve.server import Server
    from sri_sdk.serve.settings import LOCALHOSTS
    from sri_sdk.serve.tokens import Tokens

    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    opened = open_store(place)
    # A host that was chosen on purpose together with --no-auth is one that others ask under names of their own.
    local = settings.uds is None and settings.host in LOCALHOSTS and tokens is None
    built = build_dashboard(opened, tokens=tokens, hosts=LOCALHOSTS if local else None)

    def started(address: str, _: Dashboard) -> None:
        say(f"dashboard on {address}")
        if tokens is None:
            say("nobody is asked for a token: whoever reaches it may see and label everything", err=True)

    try:
        Server(settings, built, started, port_key="--port").run()
    finally:
        opened.close()
