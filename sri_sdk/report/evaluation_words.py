"""An evaluation in words: the finding, and the few numbers to see first."""

from __future__ import annotations

import math

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.cells import area, area_interval, called, percent
from sri_sdk.metrics.guard_table import ours, overhead
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.remaining import all_remaining
from sri_sdk.metrics.results import Evaluation, GuardResult, ModelResult
from sri_sdk.report import words

FEW = 10
"""Successful attacks below which no attack is called the best or the worst guarded one."""


def leading(evaluation: Evaluation) -> ModelResult | None:
    """The model the report begins with: the first on which guards were compared, else the first."""
    guarded = (model for model in evaluation.models if model.guards)
    return next(guarded, evaluation.models[0] if evaluation.models else None)


def limited(evaluation: Evaluation) -> str:
    """That the run was a quick look, or an empty string."""
    if evaluation.limit is None:
        return ""
    plural = "" if evaluation.limit == 1 else "s"
    return f"Quick look: at most {evaluation.limit:,} prompt{plural} per group. Read the intervals, not the shares."


def subtitle(evaluation: Evaluation) -> str:
    """What was evaluated, in one line."""
    attacks = {attack.name for model in evaluation.models for attack in model.attacks}
    guards = {guard.name for model in evaluation.models for guard in model.guards}
    counts = ((len(evaluation.models), "model"), (len(attacks), "attack"), (len(guards), "guard"))
    return ", ".join(f"{n or 'no'} {what}{'' if n == 1 else 's'}" for n, what in counts)


def finding(evaluation: Evaluation) -> str:
    """The one sentence to remember, about the model the report begins with."""
    model = leading(evaluation)
    if model is None:
        return "Nothing was evaluated."
    guard, name = ours(model), called(model.name)
    if guard is None or not guard.removed.n:
        return _unguarded(model, guard)
    sentence = f"On {name}, {called(guard.name)} removes {percent(guard.removed)} of the successful attacks"
    if guard.false_alarm.n:
        sentence += f" at {percent(guard.false_alarm)} false alarms"
    by_attack = sorted((r.value, a) for a, r in guard.removed_by_attack.items() if r.n >= FEW)
    if len(by_attack) > 1:
        (low, worst), (high, best) = by_attack[0], by_attack[-1]
        sentence += f": {_whole(high)} of {called(best)} at best, {_whole(low)} of {called(worst)} at worst"
    return f"{sentence}."


def also(evaluation: Evaluation) -> str:
    """What our guard does on the other models, or an empty string."""
    found = [
        (guard.removed.value, guard.false_alarm.value, called(model.name))
        for model in evaluation.models
        if (guard := ours(model)) is not None and guard.removed.n and guard.false_alarm.n
    ]
    if len(found) < 2:
        return ""
    (low, _, worst), (high, _, best) = min(found), max(found)
    alarms = dict.fromkeys(words.share(pick(alarm for _, alarm, _ in found)) for pick in (min, max))
    return (
        f"Over {len(found)} models it removes {_whole(low)} ({worst}) to {_whole(high)} ({best}), "
        f"at {' to '.join(alarms)} false alarms."
    )


def keys(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The few numbers to see first: name, value, what it means. Of our guard on the model the report begins with."""
    model = leading(evaluation)
    if model is None:
        return []
    guard = ours(model)
    keys = [_success_key(model)]
    if guard is None:
        refused, harmless = model.refused_harmful, model.refused_harmless
        keys += [_rate_key("Harmful requests refused", refused, "plain harmful prompts")]
        keys += [_rate_key("Harmless requests refused", harmless, "harmless prompts")]
        return keys
    alarms = _rate_key("False alarms", guard.false_alarm, "harmless generations flagged")
    if math.isfinite(evaluation.alpha):
        alarms = (*alarms[:2], f"{alarms[2]} The threshold allows {words.share(evaluation.alpha)}.")
    keys += [_rate_key("Attacks removed", guard.removed, "successful attacks flagged"), alarms, area_key(guard.auroc)]
    note = guard.overhead_note.strip().rstrip(".")
    keys.append(("Overhead", overhead(guard), f"Of the time of generation{f'; {note}' if note else ''}."))
    if guard.median_alarm_step is not None and math.isfinite(guard.median_alarm_step):
        meaning = f"Median of {model.budget} steps, among the successful attacks that the rule at every step alarmed."
        keys.append(("First alarm", f"step {guard.median_alarm_step:g}", meaning))
    else:
        keys.append(("First alarm", words.DASH, "It judges at the end, or alarmed at no step."))
    return keys


def _unguarded(model: ModelResult, guard: GuardResult | None) -> str:
    name = called(model.name)
    if model.success is None or not model.success.n:
        if not model.refused_harmful.n:
            return f"No attack was run on {name}."
        refused = percent(model.refused_harmful)
        return f"No attack was run on {name}, which refuses {refused} of the plain harmful requests."
    if not model.success.k:
        return f"None of {model.success.n:,} attacked requests made {name} answer harmfully."
    what = "no guard was compared" if guard is None else f"{called(guard.name)} was not measured on them"
    return f"On {name}, {percent(model.success)} of the attacked requests are answered harmfully; {what}."


def _success_key(model: ModelResult) -> tuple[str, str, str]:
    if model.success is None or not model.success.n:
        return "Attack success", words.DASH, "No attack was run."
    after = all_remaining(model)
    meaning = (
        f"95 % interval {words.interval(model.success)}; {model.success.k:,} of {model.success.n:,} attacked prompts"
    )
    if after is None:
        return "Attack success", percent(model.success), f"{meaning} answered harmfully."
    meaning += f" answered harmfully; {after.k:,} of them not flagged ({words.interval(after)})."
    return "Attack success, before → after guard", f"{_whole(model.success.value)} → {_whole(after.value)}", meaning


def _rate_key(name: str, rate: Rate, what: str) -> tuple[str, str, str]:
    if not rate.n:
        return name, words.DASH, f"Not measured: no {what}."
    return name, percent(rate), f"95 % interval {words.interval(rate)}; {rate.k:,} of {rate.n:,} {what}."


def area_key(found: Auroc | None) -> tuple[str, str, str]:
    """The area of a guard as a key number."""
    if found is None or not math.isfinite(found.value):
        return "AUROC", words.DASH, "Not measured: it needs successful attacks and harmless generations."
    meaning = (
        f"95 % interval {area_interval(found)}; {found.positives:,} successful attacks against "
        f"{found.negatives:,} harmless generations. 0.5 = chance, 1 = perfect."
    )
    return "AUROC", area(found), meaning


def _whole(share: float) -> str:
    """A share without digits behind the point, where that does not make it nothing or all."""
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.005 <= share < 0.995 else words.share(share)
