"""`sri monitor`: a deployment that is watched for as long as it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import say, say_json

if TYPE_CHECKING:
    from sri_sdk.monitor.settings import MonitorSettings


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Ask the sinks, load everything, say what would run, and end.")
@click.option("--json", "as_json", is_flag=True, help="At the end, print the counts as JSON on standard output.")
@click.option(
    "--forget", metavar="SINK",
    help="Drop what waits in the spool for a sink that CONFIG no longer names, and end. Says how much, and asks.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="With --forget: do not ask.")
@click.pass_context
def command(
    ctx: click.Context, config: Path, check: bool, as_json: bool, forget: str | None, yes: bool
) -> None:  # fmt: skip
    """Run the deployment of CONFIG: answer requests, watch each, and tell the sinks.

    SIGTERM and Ctrl-C end it: requests that wait are generated first, and what the sinks do not take in time stays in
    the spool for the next start. SIGHUP reads CONFIG again; one that is wrong changes nothing, and is said.
    docs/monitor.md has the file.
    """
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.monitor.reading import read_monitor

    if (forget is None and yes) or (forget is not None and (check or as_json)):
        raise click.UsageError("--yes goes with --forget, and --forget with neither --check nor --json")
    # Before torch is imported: a mistake in the file is found in a moment.
    told = read_monitor(config)
    if forget is not None:
        _forget(told.settings, forget, yes=yes)
        return
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


def _forget(settings: MonitorSettings, sink: str, *, yes: bool) -> None:
    from sri_sdk.monitor.spool.forgetting import leftover

    with leftover(settings.spool_path, sink, [each.called for each in settings.sinks]) as found:
        waits = f"{found.count} observations ({found.size:,} bytes) wait for sink {sink}"
        say(f"spool {found.file}: {waits}; for {found.alone} of them it is the only one", err=True)
        if not yes and not click.confirm("Drop them? Nobody can bring them back", err=True):
            say("nothing was dropped", err=True)
            return
        found.drop()
    say(f"sink {sink}: {found.count} observations dropped", err=True)
