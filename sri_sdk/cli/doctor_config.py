"""`sri doctor CONFIG`: whether a fit of this config is worth starting, from a small sample of its prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sri_sdk.cli.finding import Finding, State

if TYPE_CHECKING:
    from sri_sdk.fitting.doctor_sample import Sample


def probe_config(file: Path, per_class: int) -> Iterator[Finding]:
    """Loads what the config names, generates a few prompts, and says what a whole fit would see and cost.

    Args:
        file: the YAML file of a deployment.
        per_class: harmless prompts to try, and as many harmful ones.
    """
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.config.load import load_config

    config = load_config(file)
    prepare_libraries()
    from sri_sdk.fitting.doctor_sample import sample

    found = sample(config, per_class)
    for fold, counts in found.folds.items():
        yield Finding("prompts", fold, "ok", ", ".join(f"{count} {what}" for what, count in counts.items()))
    yield Finding("model", config.model.hook, "ok", found.source)
    yield from _refusals(found)
    yield from _anchors(found)
    if found.request is not None:
        yield Finding("request", "map", "ok", found.request)
    yield _judge(found, config.judge.name)
    yield from _answers(found, config.limits.unusable)
    yield from _speed(found, config.batch_size)


def _refusals(found: Sample) -> Iterator[Finding]:
    from sri_sdk.fitting.tally import MOST_REFUSED

    for label, outcomes in found.outcomes.items():
        share = found.refused(label) / len(outcomes)
        state: State = "ok"
        cure = ""
        if label == "harmless" and share > MOST_REFUSED:
            state, cure = "broken", ". Most harmless prompts are refused: check the judge and the prompts"
        yield Finding("refused", label, state, f"{found.refused(label)} of {len(outcomes)} prompts{cure}")


def _anchors(found: Sample) -> Iterator[Finding]:
    from sri_sdk.config.folds import FEWEST_COUNTED
    from sri_sdk.fitting.tally import FEW_COUNTED

    for label in found.outcomes if "anchors" in found.folds else ():
        expected, wanted = found.counted(label), found.folds["anchors"][label]
        low, high = found.counted_between(label)
        # Where a model refuses 6 %, most samples of 8 see no refusal, and the fit works all the same.
        state: State = "broken" if high < FEWEST_COUNTED else "thin" if expected < FEW_COUNTED else "ok"
        cure = "" if state == "ok" else (
            f". Fewer than {FEWEST_COUNTED} stop a fit, {FEW_COUNTED} or more are better: check the judge against a "
            f"few responses, or give the anchors fold more {label} prompts"
        )  # fmt: skip
        if state == "thin" and high >= FEW_COUNTED:
            cure += f". {len(found.outcomes[label])} prompts are too few to tell: try more with --sample"
        yield Finding(
            "anchors", label, state,
            f"about {expected:.0f} of {wanted} prompts will count ({low:.0f} to {high:.0f}){cure}",
        )  # fmt: skip


def _judge(found: Sample, name: str) -> Finding:
    from sri_sdk.fitting.tally import MOST_UNREADABLE

    said = [outcome for outcomes in found.outcomes.values() for outcome in outcomes]
    counts = ", ".join(f"{said.count(outcome)} {outcome}" for outcome in sorted(set(said)))
    count = found.counts["unparsable"]
    bad = count.k > MOST_UNREADABLE * len(said)
    odd = f"; {count.k} answers of the judge name no outcome" if count.k else ""
    return Finding("judge", name, "broken" if bad else "ok", f"{counts}{odd}")


def _answers(found: Sample, most: float) -> Iterator[Finding]:
    from sri_sdk.fitting.counters import WORDS

    for name, count in found.counts.items():
        words = WORDS[name]
        state: State = "broken" if count.k > most * count.n else "thin" if count.k else "ok"
        more = f", for example prompt {count.example!r}. {words.cure}" if count.k else ""
        yield Finding("answers", name, state, f"{count.k} of {count.n} {words.what}{more}")


def _speed(found: Sample, batch_size: int) -> Iterator[Finding]:
    from sri_sdk.fitting.forecast import words

    yield Finding(
        "speed", "tokens", "ok",
        f"{found.tokens / found.watched:.3g} per second under the tap, {found.tokens / found.size:.0f} per response",
    )  # fmt: skip
    cost = f"{100 * found.tap_cost:.0f} % slower with it" if found.tap_cost > 0 else "lost in noise"
    yield Finding("speed", "tap", "ok", f"{cost}: {found.tapped:.2f} s with, {found.untapped:.2f} s without")
    share = f"; {100 * found.judging / (found.watched + found.judging):.0f} % of it is the judge"
    at = len(next(iter(found.outcomes.values())))
    faster = f". Batches of {batch_size} may be faster than this sample's of {at}" if batch_size > at else ""
    yield Finding(
        "time", "fit", "ok",
        f"about {words(found.fit_seconds)} for {found.prompts} prompts{share}{faster}",
    )  # fmt: skip
