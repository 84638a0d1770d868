"""An evaluation in words: the finding, and the few numbers to see first."""

from __future__ import annotations

import math

from sri_sdk.metrics.auroc import Auroc
<<<<<<< HEAD
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.results import CLASS_WORDS, AttackResult, Evaluation, GuardResult, ModelResult, our_guard
=======
from sri_sdk.metrics.cells import area, area_interval, called, percent
from sri_sdk.metrics.guard_table import ours, overhead
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.remaining import all_remaining
from sri_sdk.metrics.results import Evaluation, GuardResult, ModelResult
>>>>>>> d417be9 (Report: every figure described once as panels, laid out by matplotlib; one table of guards for page, Markdown and terminal)
from sri_sdk.report import words

FEW = 10
"""Successful attacks below which no attack is called the best or the worst guarded one."""


def leading(evaluation: Evaluation) -> ModelResult | None:
    """The model the report begins with: the first on which guards were compared, else the first."""
    guarded = (model for model in evaluation.models if model.guards)
    return next(guarded, evaluation.models[0] if evaluation.models else None)


<<<<<<< HEAD
def ours(model: ModelResult | None) -> GuardResult | None:
    """Our guard on it: the first that reads hidden states."""
    return None if model is None else our_guard(model.guards)


def ordered(model: ModelResult) -> tuple[GuardResult, ...]:
    """The guards compared on it, ours first."""
    mine = our_guard(model.guards)
    return tuple(sorted(model.guards, key=lambda guard: guard is not mine))


def unguarded(model: ModelResult) -> str:
    """Guards that could not run on it, and why; empty = all ran."""
    found = "; ".join(f"{called(name)}: {why.strip().rstrip('.')}" for name, why in model.guard_notes.items())
    return f"Not run: {found}." if found else ""


def called(name: str) -> str:
    """A name, also where there is none."""
    return name.strip() or "unnamed"


def percent(rate: Rate | None) -> str:
    """A rate's share, or what to say instead."""
    if rate is None:
        return words.DASH
    return words.share(rate.value) if rate.n else "no cases"


def counted(rate: Rate) -> str:
    """k of n."""
    return f"{rate.k:,} of {rate.n:,}"


def measured(area: Auroc | None) -> bool:
    """Whether there is an area to speak of."""
    return area is not None and math.isfinite(area.value)


def area(value: Auroc | None) -> str:
    """An AUROC with three digits, or a dash."""
    return f"{value.value:.3f}" if value is not None and math.isfinite(value.value) else words.DASH


def area_interval(value: Auroc | None) -> str:
    """Its 95 % interval, or a dash."""
    if value is None or not (math.isfinite(value.low) and math.isfinite(value.high)):
        return words.DASH
    return f"{value.low:.3f} to {value.high:.3f}"


def overhead(guard: GuardResult) -> str:
    """Its time as a share of the time of generation: `0.02 %`."""
    if guard.overhead is None or not math.isfinite(guard.overhead):
        return "not measured"
    if guard.overhead <= 0:
        return "none measurable"  # Less than two runs of the same thing differ by.
    # Shares of ten or a hundred percent need no digit behind the point.
    return words.share(guard.overhead) if guard.overhead < 0.1 else f"{100 * guard.overhead:.0f} %"


def remaining(success: Rate | None, removed: Rate | None) -> Rate | None:
    """Attacks that succeed and are not flagged, over all attempts.

    Args:
        success: successful attacks over attempts.
        removed: flagged ones over successful attacks; it must count the same successes, else there is no answer.
    """
    if success is None or not success.n:
        return None
    if not success.k:
        return exact_rate(success.name, 0, success.n)
    if removed is None or removed.n != success.k:
        return None
    return exact_rate(success.name, success.k - removed.k, success.n)


def attack_remaining(model: ModelResult, attack: AttackResult) -> Rate | None:
    """What remains of one attack after our guard; None = the guard was not measured on it."""
    guard = ours(model)
    return None if guard is None else remaining(attack.success, guard.removed_by_attack.get(attack.name))


def all_remaining(model: ModelResult) -> Rate | None:
    """What remains of all attacks together after our guard; None = the guard was not measured on them."""
    guard = ours(model)
    if guard is None:
        return None
    return guard.remaining or remaining(model.success, guard.removed)


=======
>>>>>>> d417be9 (Report: every figure described once as panels, laid out by matplotlib; one table of guards for page, Markdown and terminal)
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
