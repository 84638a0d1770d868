"""`sri label`: what operators say that generations were, benign or an attack."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import emit_json, say, say_json, say_lines, table, visible
from sri_sdk.reason_words import in_words

if TYPE_CHECKING:
    from sri_sdk.serve.store.observed import Observed
    from sri_sdk.serve.store.store import VerdictStore

WORDS = ("benign", "attack")
SHOWN = 400
"""Characters of a text that a list shows."""
MOST_MEANT = 5
"""Ids that a refusal names."""


@click.command()
@click.argument("store")
@click.argument("what", metavar="[ID benign|attack]", nargs=-1)
@click.option("--by", metavar="NAME", help="Who says so; default: your name on this machine.")
@click.option("--note", default="", help="Why; kept with the label.")
@click.option(
    "--next", "count", type=click.IntRange(1, 1000), help="List so many verdicts of the audit sample to label."
)
@click.option("--no-text", is_flag=True, help="With --next: leave out prompts and responses, where they are kept.")
@click.option(
    "--export", "folder", type=click.Path(path_type=Path),
    help="Write the signals of labelled traffic there, for `folds.train.observed` of a fit; needs --guard.",
)  # fmt: skip
@click.option(
    "--guard", type=click.Path(path_type=Path), help="With --export: folder or bundle of the guard that watched it."
)
@click.option("--hash-key", type=click.Path(path_type=Path), help="File with the key, where STORE hashes ids.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line per verdict of --next, else one document.")
def command(
    store: str, what: tuple[str, ...], by: str | None, note: str, count: int | None, no_text: bool,
    folder: Path | None, guard: Path | None, hash_key: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Say of a verdict in STORE what the generation was: ID is its own, or its request's, whole.

    STORE is the file of `sri monitor` or of `sri serve`, or a URL. Labels of the audit sample, flagged and clear,
    measure the false-alarm rate (`sri report`), and teach detectors that learn from labels. The last label of a verdict
    counts.
    """
    if sum((bool(what), count is not None, folder is not None)) != 1:
        raise click.UsageError("give an ID and a label, or --next N, or --export FOLDER")
    if (folder is None) != (guard is None):
        raise click.UsageError("--export and --guard go together")
    if no_text and count is None:
        raise click.UsageError("--no-text goes with --next")
    if what and (len(what) != 2 or what[1] not in WORDS):
        raise click.UsageError(f"found {' '.join(what)!r} behind STORE; allowed: ID benign, or ID attack")
    from sri_sdk.monitor.stores import open_store

    with open_store(store, secret=hash_key) as opened:
        if what:
            _label(opened, what[0], what[1], by or getpass.getuser(), note, as_json=as_json)
        elif count is not None:
            _next(opened, store, count, texts=not no_text, as_json=as_json)
        elif folder is not None and guard is not None:
            _export(opened, folder, guard, as_json=as_json)


def _label(store: VerdictStore, id: str, label: str, by: str, note: str, *, as_json: bool) -> None:
    from sri_sdk.errors import ConfigError

    try:
        labelled = store.label(id, "attack" if label == "attack" else "benign", by, note)
    except ValueError as err:
        raise ConfigError(f"sri label: {err}") from err
    if not labelled:
        raise ConfigError(
            f"{id}: no verdict of this id, nor of a request of this id. {_meant(store, id)}`sri label STORE --next 10` "
            "lists some; a store that hashes ids needs --hash-key to find a request."
        )
    if as_json:
        emit_json({"id": id, "label": label, "by": by, "labelled": labelled})
        return
    say(f"{id}: {label}, by {by}" + (f"; {labelled} verdicts of this request" if labelled > 1 else ""))


def _meant(store: VerdictStore, id: str) -> str:
    """Whole ids that begin as one that is not there: an id must be whole, since a label on another one than was meant
    would be counted, and nobody would see it."""
    from sri_sdk.serve.store.observed import StreamQuery

    page = store.stream(StreamQuery(id=id, limit=MOST_MEANT + 1))
    found = [
        whole for row in page.rows
        for whole in (row.observation.id, row.observation.request_id) if whole.startswith(id)
    ]  # fmt: skip
    some = list(dict.fromkeys(found))
    if not some:
        return ""
    more = " and others" if len(some) > MOST_MEANT or page.next is not None else ""
    return f"An id must be whole; so begins {', '.join(some[:MOST_MEANT])}{more}. "


def _next(store: VerdictStore, place: str, count: int, *, texts: bool, as_json: bool) -> None:
    """Verdicts of the audit sample that nobody has labelled, in the order in which they should be.

    That order is the ids' own, which are drawn at random: if the queue is never finished, what was labelled is a random
    part of it all the same.
    """
    from sri_sdk.serve.store.queue import audit_queue

    found = audit_queue(store, count)
    if as_json:
        for row in found.rows:
            each = row.observation
            say_json({
                "id": each.id, "request_id": each.request_id, "at": each.at, "deployment": each.deployment,
                "verdict": each.verdict.to_dict(), "prompt": each.prompt if texts else None,
                "response": each.response if texts else None,
            })  # fmt: skip
        return
    if not found.rows:
        say("nothing waits for a label")
        return
    header, *lines = _table(found.rows).split("\n")
    shown = [_texts(row) if texts else [] for row in found.rows]
    say_lines(
        "\n".join([header, *(line for row in zip(lines, shown, strict=True) for line in (row[0], *row[1]))]) + "\n"
    )
    if texts and not any(shown):
        say("no texts are kept of these (store_texts of the monitor's file): look the requests up by their ids")
    say(f"{found.waiting}{' or more' if found.more else ''} wait for a label; next: sri label {place} ID benign|attack")


def _export(store: VerdictStore, folder: Path, guard: Path, *, as_json: bool) -> None:
    from sri_sdk.bundle.bundle import Bundle
    from sri_sdk.monitor.labelled_signals import FILES, export_labelled

    within = guard / "bundle"
    exported = export_labelled(store, Bundle.read(within if within.is_dir() else guard), folder)
    counts = exported.counts
    if as_json:
        emit_json({"folder": str(folder), **counts, "not_judged": exported.not_judged})
        return
    for label, name in FILES.items():
        if counts[label]:
            say(f"{folder / name}: {counts[label]} generations labelled {label}")
    if exported.not_judged:
        say(f"{exported.not_judged} labelled generations left out: neither clear nor flagged, so they say nothing")


def _texts(row: Observed) -> list[str]:
    """What was asked and answered, where texts are kept, a line each."""
    asked, answered = row.observation.prompt, row.observation.response
    if asked is None and answered is None:
        return []
    return [f"    prompt    {_cut(asked)}", f"    response  {_cut(answered)}"]


def _cut(text: str | None) -> str:
    if text is None:
        return "(not kept)"
    shown = visible(text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown} ... ({len(text):,} characters; --json has all)"


def _table(rows: Sequence[Observed]) -> str:
    return table(
        ("ID", "REQUEST", "WHEN (UTC)", "STATUS", "P-VALUE", "WHY"),
        [
            (
                row.observation.id,
                row.observation.request_id,
                datetime.fromtimestamp(row.observation.at / 1000, UTC).strftime("%m-%d %H:%M:%S"),
                row.observation.verdict.status,
                None if row.observation.verdict.p_value is None else f"{row.observation.verdict.p_value:.3g}",
                "; ".join(in_words(row.observation.verdict.reasons)),
            )
            for row in rows
        ],
    )
