"""`sri score`: verdicts on signals in a file, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sri_sdk.cli.output import json_text, say, say_json_lines, say_lines, table
from sri_sdk.cli.verdict_words import part_words
from sri_sdk.files import write_text
from sri_sdk.reason_words import in_words
from sri_sdk.records import Rule, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import read_signals

FAIL_CODES = {"flagged": 10, "unmonitored": 11}


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("signals", type=click.Path(allow_dash=True))
@click.option(
    "--rule",
    type=click.Choice(["final", "online", "request"]),
    default="final",
    show_default=True,
    help="Judge finished generations, or every length, as a monitor would while they ran, or the request alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON verdict per line; the summary goes to stderr.")
@click.option("--all", "show_all", is_flag=True, help="List clear generations too.")
@click.option("--accept", multiple=True, metavar="FIELD", help="Soft fingerprint field that may differ; repeatable.")
@click.option("--unverified", is_flag=True, help="Score signals even if they do not say which model made them.")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    help="PEM file with the public key that must have signed BUNDLE. Without it or --digest, a swap goes unnoticed.",
)
@click.option("--digest", metavar="HEX", help="The digest BUNDLE must have, as `sri bundle inspect` prints it.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the verdicts to this file, as JSON lines.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(list(FAIL_CODES)),
    help="Exit with 10 if a generation is flagged, with 11 if one is unmonitored; repeatable.",
)
@click.pass_context
def command(
    ctx: click.Context, bundle: Path, signals: str, rule: Rule, as_json: bool, show_all: bool,
    accept: tuple[str, ...], unverified: bool, public_key: Path | None, digest: str | None, out: Path | None,
    fail_on: tuple[str, ...],
) -> None:  # fmt: skip
    """Score SIGNALS (.npz, .npy, .jsonl, or - for JSON lines on stdin) with BUNDLE, a folder or its zip file."""
    scorer = Scorer.open(bundle, public_key=public_key, digest=digest)
    read = read_signals(signals, scorer.manifest.signal.domain)
    subject = "standard input" if signals == "-" else signals
    verdicts = scorer.score(read, rule=rule, accept=accept, unverified=unverified, subject=subject)
    counts = Counter(str(verdict.status) for verdict in verdicts)
    if out is not None:
        write_text(out, "".join(f"{json_text(verdict.to_dict())}\n" for verdict in verdicts))
    if as_json:
        say_json_lines(verdict.to_dict() for verdict in verdicts)
    else:
        listed = [verdict for verdict in verdicts if show_all or verdict.status != "clear"]
        if listed:
            say_lines(_table(listed) + "\n")
    say(_summary(counts, verdicts), err=as_json)
    for status, code in FAIL_CODES.items():
        if status in fail_on and counts[status]:
            ctx.exit(code)


def _summary(counts: Counter[str], verdicts: Sequence[Verdict]) -> str:
    # Each part has a threshold of its own, and so may each group.
    threshold = f", threshold {verdicts[0].threshold:.6g}" if verdicts and not verdicts[0].parts else ""
    accepted = f", accepted to differ: {', '.join(verdicts[0].accepted)}" if verdicts and verdicts[0].accepted else ""
    each = ", ".join(f"{counts[status]} {status}" for status in ("clear", "flagged", "unmonitored"))
    return f"{len(verdicts)} generations: {each}{threshold}{accepted}"


def _table(verdicts: Sequence[Verdict]) -> str:
    columns: dict[str, list[Any]] = {
        "ID": [v.request_id for v in verdicts],
        "STATUS": [v.status for v in verdicts],
        "SCORE": [_number(v.score) for v in verdicts],
        "P-VALUE": [_number(v.p_value) for v in verdicts],
        "FIRST ALARM": [v.first_alarm_step for v in verdicts],
        "WHY": ["; ".join(in_words(v.reasons)) for v in verdicts],
    }
    if any(v.parts for v in verdicts):
        del columns["SCORE"]
        columns["PARTS"] = ["; ".join(map(part_words, v.parts)) for v in verdicts]
        columns["ENDED"] = [v.ended for v in verdicts]
    if any(v.group is not None for v in verdicts):
        columns["GROUP"] = [v.group for v in verdicts]
    return table(list(columns), zip(*columns.values(), strict=True))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
