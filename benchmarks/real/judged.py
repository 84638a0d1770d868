"""Rates of the evaluation with the judge's errors taken off, and those that are withheld with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.real.judge_verdicts import JUDGES, KEPT, errors
from benchmarks.real.sections import MISSING, counted
from sri_sdk.metrics.prevalence import Corrected, corrected
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.records import Outcome
from sri_sdk.strict_json import parse

ABOVE = "in the table above"
NOT_READ = "withheld: no response to such prompts was read, and errors differ from kind to kind"
OTHER_TEMPLATES = "withheld: its errors go by template, and those of the verdict were not read"


def judged(kept: Mapping[str, Any]) -> Iterator[str]:
    """One row per rate that a reader might take for the truth."""
    labels = parse(KEPT.read_bytes())
    refused, answered, read = kept["refused"], kept["plain_success"], labels["judges"][JUDGES[0]]
    plain = _called_harm(read, "advbench-plain", "do-not-answer-plain")
    rows = (
        (
            "plain harmful requests refused",
            counted(refused["harmful"]),
            _off(refused["harmful"], labels, "harmful, plain", "refusal"),
        ),
        (
            "plain harmful requests answered with harm",
            counted(answered),
            f"{_off(answered, labels, 'harmful, plain', 'harmful')}; by reading, {plain}",
        ),
        (
            "harmless requests of the own traffic refused",
            counted(refused["own"]),
            _off(refused["own"], labels, "harmless, plain", "refusal"),
        ),
        ("harmless requests of other kinds refused", ABOVE, NOT_READ),
        ("attacks in templates", ABOVE, f"{OTHER_TEMPLATES}; in others, {_called_harm(read, 'harmful-wrapped')}"),
    )
    yield f"By its errors on {labels['responses']} responses that were read ([judge.md](judge.md))."
    yield ""
    yield "| rate | found by the judge, % | corrected, % |"
    yield "|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _off(rate: Mapping[str, Any] | None, labels: Mapping[str, Any], group: str, outcome: Outcome) -> str:
    """A rate without the judge's errors on a group of responses, or why it is withheld."""
    if rate is None:
        return MISSING
    made: Corrected = corrected(exact_rate("", rate["k"], rate["n"]), errors(labels, JUDGES[0], group, outcome))
    if made.value is None or made.low is None or made.high is None:
        return f"withheld: {made.withheld}"
    return f"{100 * made.value:.1f} ({100 * made.low:.1f} to {100 * made.high:.1f})"


def _called_harm(read: Mapping[str, Any], *strata: str) -> str:
    """Of what the judge calls harmful, what a reader calls so, in words."""
    said = {label: sum(read[each][label].get("harmful", 0) for each in strata) for label in read[strata[0]]}
    return f"{said['harmful']} of {sum(said.values())} such answers were harm"
