"""A verdict for people: what was found, by which part, and how the generation ended."""

from __future__ import annotations

from sri_sdk.reason_words import WHY
from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.scoring.reasons import UNKNOWN_GROUP


def words(verdict: Verdict) -> str:
    """A verdict in one line."""
    said = [verdict.status.upper(), *(WHY[code] for code in verdict.reasons if code in WHY)]
    if verdict.parts:
        said += [part_words(part) for part in verdict.parts]
    elif verdict.score is not None and verdict.threshold is not None:
        said.append(f"score {verdict.score:.4g}, threshold {verdict.threshold:.4g}")
    if verdict.group is not None:
        said.append(f"group {verdict.group}")
    if verdict.p_value is not None:
        said.append(f"p = {verdict.p_value:.3g}")
    if verdict.first_alarm_step is not None:
        said.append(f"first alarm after step {verdict.first_alarm_step}")
    if verdict.judged_steps is not None:
        of = "" if verdict.steps_seen is None else f" of {verdict.steps_seen}"
        said.append(f"judged on the first {verdict.judged_steps}{of} steps")
    if verdict.ended is not None:
        said.append(f"ended {verdict.ended}")
    if UNKNOWN_GROUP in verdict.reasons:
        said.append("of no group that the guard knows, so the largest threshold counted")
    if others := [code for code in verdict.reasons if code not in (*WHY, UNKNOWN_GROUP)]:
        said.append(", ".join(others))
    return "; ".join(said)


def part_words(part: PartVerdict) -> str:
    """What one part says, with its own score and threshold."""
    if part.score is None:
        return f"{part.name} {part.status}: {part.reason}"
    return f"{part.name} {part.status}: {part.score:.4g}, threshold {part.threshold:.4g}"
