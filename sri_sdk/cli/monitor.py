"""`sri monitor`: a deployment that is watched for as long as it runs."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from sri_sdk.cli.output import say, say_json


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Ask the sinks, load everything, say what would run, and end.")
@click.option("--json", "as_json", is_flag=True, help="At the end, print the counts as JSON on standard output.")
@click.pass_context
def command(ctx: click.Context, config: Path, check: bool, as_json: bool) -> None:
    """Run the deployment of CONFIG: answer requests, watch each, and tell the sinks.

    SIGTERM and Ctrl-C end it: requests that wait are generated first, and what the sinks do not take in time stays in
    the spool for the next start. SIGHUP reads CONFIG again; one that is wrong changes nothing, and is said.
    docs/monitor.md has the file.
    """
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.monitor.reading import read_monitor

    # Before torch is imported: a mistake in the file is found in a moment.
    told = read_monitor(config)
    prepare_libraries()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for talks in ("alembic", "uvicorn"):
        logging.getLogger(talks).setLevel(logging.WARNING)
    from sri_sdk.monitor.operate import operate

    # Standard output belongs to answers and to --json.
    ended = operate(told, lambda line: say(line, err=True), check=check)
    if check:
        if not_ready := [each.called for each in ended.checks if each.outcome == "failed"]:
            say(f"error: sinks that cannot deliver now: {', '.join(not_ready)}", err=True)
            ctx.exit(1)
        return
    balance = ended.balance
    say(balance.words, err=True)
    for each in ended.sinks:
        if lost := each.rejected + each.dropped:
            say(f"sink {each.sink}: {lost} of {each.accepted} observations were given up", err=True)
    if ended.waiting:
        say(f"{ended.waiting} observations wait in the spool; the next start delivers them", err=True)
    if as_json:
        counts = {name: getattr(balance, name) for name in balance.__slots__}
        say_json({**counts, "sinks": [{name: getattr(each, name) for name in each.__slots__} for each in ended.sinks]})
