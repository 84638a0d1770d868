"""A batch judged: outcomes of the answers alone, and a count of everything that makes an outcome worthless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sri_sdk.fitting.tally import unreadable
from sri_sdk.judge import Judge
from sri_sdk.records import Outcome, Prompt
from sri_sdk.thoughts import Thoughts

Counts = Mapping[str, Sequence[str]]
"""Counter, a key of `counters.WORDS` -> ids of the prompts that it is about."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge says of a batch."""

    outcomes: list[Outcome]
    counts: Counts


def judged(judge: Judge, thoughts: Thoughts, prompts: Sequence[Prompt], texts: Sequence[str]) -> Judged:
    """Judges the answers in responses; their thoughts are nobody's business.

    Args:
        judge: what a response is.
        thoughts: how the model marks its own.
        prompts: one per response.
        texts: responses, thoughts included.
    """
    before = unreadable(judge)
    parts = [thoughts.split(text) for text in texts]
    answers = [part.answer for part in parts]
    outcomes = judge.judge(prompts, answers)
    unparsed = judge.unparsed(prompts, answers)
    if not any(unparsed) and (more := unreadable(judge) - before) > 0:
        # It counts, but cannot tell which: those that it sorts nowhere come first.
        places = sorted(range(len(prompts)), key=lambda at: outcomes[at] != "other")[:more]
        unparsed = [at in places for at in range(len(prompts))]
    empty = [not answer.strip() for answer in answers]
    found = {
        "unparsable": unparsed,
        "unfinished": [part.unfinished and gone for part, gone in zip(parts, empty, strict=True)],
        "empty": [gone and not part.unfinished for part, gone in zip(parts, empty, strict=True)],
    }
    counts = {name: [p.id for p, yes in zip(prompts, rows, strict=True) if yes] for name, rows in found.items()}
    return Judged(outcomes, {name: ids for name, ids in counts.items() if ids})
