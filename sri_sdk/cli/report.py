"""`sri report`: what happened, as one page."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.errors import ConfigError

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
URGENCY = {"act": "ACT", "look": "LOOK", "fine": "FINE"}


@click.command()
@click.argument("store")
@click.option(
    "--since", default="7d", show_default=True, metavar="WHEN",
    help="Begin: so many minutes, hours, days or weeks ago (90m, 12h, 7d, 2w), or a UTC time (2026-11-30T08:00).",
)  # fmt: skip
@click.option("--until", metavar="WHEN", help="End, written alike; default: now.")
@click.option("--deployment", metavar="NAME", help="Of this deployment alone; default: of all in STORE.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"), show_default=True,
    help="The page.",
)  # fmt: skip
@click.option("--hash-key", type=click.Path(path_type=Path), help="File with the key, where STORE hashes ids.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and write no page.")
def command(
    store: str, since: str, until: str | None, deployment: str | None, out: Path, hash_key: Path | None, as_json: bool
) -> None:
    """Say what happened in STORE: alarms, what was not monitored, and whether the promise is kept.

    STORE is the file of `sri monitor` or of `sri serve`, or a URL. Whole hours count. No texts and no ids are on the
    page.
    """
    now_ms = int(time.time() * 1000)
    begin, end = _time(since, now_ms, "--since"), now_ms if until is None else _time(until, now_ms, "--until")
    if begin >= end:
        raise ConfigError(f"--since {since} is not before the end; name an earlier time.")
    from sri_sdk.monitor.stores import open_store
    from sri_sdk.monitor.summary import summarise
    from sri_sdk.report.write import write_period

    with open_store(store, secret=hash_key) as opened:
        period = summarise(opened, begin, end, deployment=deployment, now_ms=now_ms)
    if as_json:
        emit_json(asdict(period))
        return
    write_period(period, out)
    lines = [f"{URGENCY[each.urgency]:<5} {each.text}" for each in period.findings]
    say_lines("\n".join(lines) + "\n")
    if period.guards:
        heads = ("DEPLOYMENT", "GUARD", "GENERATIONS", "FLAGGED", "UNMONITORED", "FALSE ALARMS", "PROMISED", "LABELLED")
        say_lines(
            table(
                heads,
                [
                    (
                        each.deployment, each.bundle[:12], each.generations, each.flagged, each.unmonitored,
                        None if each.rate is None else f"{100 * each.low:.2g} to {100 * each.high:.2g} %",
                        None if each.promised is None else f"{100 * each.promised:g} %",
                        f"{each.labelled} of {each.drawn}",
                    )
                    for each in period.guards
                ],
            )
            + "\n"
        )  # fmt: skip
    say(f"page: {out}")


def _time(written: str, now_ms: int, option: str) -> int:
    """Milliseconds since 1970, UTC.

    Raises:
        ConfigError: neither a time ago nor a time.
    """
    if found := _PERIOD.fullmatch(written):
        return now_ms - int(found[1]) * _UNITS[found[2]] * 1000
    try:
        when = datetime.fromisoformat(written)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        return max(int(when.timestamp() * 1000), 0)
    except (ValueError, OverflowError) as err:
        raise ConfigError(
            f"{option}: {written!r} is no time; allowed: 90m, 12h, 7d, 2w, or a UTC time such as 2026-11-30T08:00."
        ) from err
