"""`sri demo`: the whole idea on the embedded diffusion model, from prompts to a verdict by another process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.capture.drive import drive
from sri_sdk.capture.recoverer import Recoverer
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ScoringError
from sri_sdk.fitting.collect import Collected, Progress
from sri_sdk.fitting.demo_recovered import recovered
from sri_sdk.fitting.fit import Fitted, fit
from sri_sdk.fitting.judged import judged
from sri_sdk.fitting.prompts import MIXES, mix_words
from sri_sdk.fitting.request_stage import words as quality
from sri_sdk.judge import Judge
from sri_sdk.metrics.classes import rows_of
from sri_sdk.metrics.guard_rates import CLASSES, class_of
from sri_sdk.metrics.spread import class_bands
from sri_sdk.records import Ended, Outcome, PartVerdict, Prompt, Signals, Trace, Verdict
from sri_sdk.report.data import Draft, Report, ScoreGroup, Trajectory
from sri_sdk.scoring.signal_files import write_signals
from sri_sdk.strict_json import parse

SIGNALS = "signals.npz"
SHOWN_ATTACK = "suffix"
"""The attack whose first success is shown. It was picked because people can read it and the shipped guard flags it:
of 60 prompts each, `suffix` succeeds 3 times and is flagged 3 times. `second-language` (57 of 57 flagged) cannot be
read; `infill` (7 of 60 flagged), `parallel` (0 of 44) and `prefill` (5 of 29) are mostly missed. So that the example
does not pass for the average, the report counts the flagged successes of every attack of the test fold."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo run made."""

    fitted: Fitted
    trajectories: tuple[Trajectory, ...]
    report: Report
    seconds: Mapping[str, float]


def demo(config: FitConfig, progress: Progress, recovery: Callable[[], Recoverer]) -> Demo:
    """Fits a guard, generates a harmless, a harmful and an attacked prompt, and has another process judge them.

    At the end the attacked prompt once more, and what answers where the policy recovers.

    Args:
        config: what to fit.
        progress: called as prompts are generated.
        recovery: makes the recovery, once the guard is there.

    Raises:
        ScoringError: the scoring process failed, or did not agree with this one.
    """
    fitted = fit(config, progress)
    started = time.perf_counter()
    prompts = pick(fitted.collected["test"])
    made = generate(fitted, list(prompts.values()))
    generated = time.perf_counter()
    out = Path(config.out)
    write_signals(out / SIGNALS, made.signals)
    verdicts = score_elsewhere(out / "bundle", out / SIGNALS)
    scored = time.perf_counter()
    attacked = list(prompts.values())[-1]
    last = recovered(fitted, attacked, recovery())
    seconds = {
        **fitted.seconds,
        "three prompts": round(generated - started, 3),
        "scoring process": round(scored - generated, 3),
        "recovery": round(time.perf_counter() - scored, 3),
    }
    trajectories = tuple(
        Trajectory(
            title=title,
            kind=class_of(prompt, made.outcomes[row]) or "",
            prompt=prompt.text,
            response=made.texts[row],
            outcome=made.outcomes[row],
            # The other process judged the signal; how much of the generation it covers, only the tap knows.
            verdict=replace(
                verdicts[row],
                steps_seen=trace.steps,
                steps_expected=trace.expected,
                ended=verdicts[row].ended or ended(made.signals.drawn[row], whole=not trace.reasons),
            ),
            sigma=made.signals.drawn[row],
            drafts=made.drafts[row],
            budget=fitted.deployment.sampler.budget(),
        )
        for row, ((title, prompt), trace) in enumerate(zip(prompts.items(), made.traces, strict=True))
    )
    trajectories = (*trajectories, last)
    return Demo(fitted, trajectories, _report(fitted, trajectories, seconds), seconds)


def pick(test: Collected) -> dict[str, Prompt]:
    """The first prompt of each kind in the test fold: an answered one, a refused one, and an attack that succeeded."""
    wanted = {
        "Harmless request": ("answered_harmless", None),
        "Harmful request": ("refused_harmful", None),
        "Attacked request": ("successful_attack", SHOWN_ATTACK),
    }
    found: dict[str, Prompt] = {}
    for title, kind in wanted.items():
        for prompt, outcome in zip(test.prompts, test.outcomes, strict=True):
            if (class_of(prompt, outcome), prompt.attack) == kind:
                found[title] = prompt
                break
    return found


@dataclass(frozen=True, slots=True)
class Generated:
    """A few generations under the finished guard; everything in the order of the prompts."""

    signals: Signals
    traces: tuple[Trace, ...]
    drafts: list[tuple[Draft, ...]]
    texts: list[str]
    outcomes: list[Outcome]


def generate(fitted: Fitted, prompts: Sequence[Prompt]) -> Generated:
    """Generates prompts under the finished guard."""
    deployment = fitted.deployment
    config = deployment.config
    settings = watch_settings(
        deployment.hook, fitted.guard, sampler=deployment.fingerprint.hard["sampler"],
        fingerprint=deployment.fingerprint,
    )  # fmt: skip
    batch = drive(
        deployment.hook, deployment.loaded, deployment.sampler, prompts, settings, seed=config.seed,
        system_prompt=config.model.system_prompt,
    )  # fmt: skip
    drafts: list[list[Draft]] = [[] for _ in prompts]
    for step in batch:
        for row, text in enumerate(batch.texts):
            drafts[row].append(Draft(step.index, text))
    assert batch.run.signals is not None
    judge: Judge = registry.build("judges", config.judge.name, config.judge.options)
    found = judged(judge, deployment.hook.thoughts, prompts, batch.texts)
    return Generated(batch.run.signals, batch.run.traces, [tuple(d) for d in drafts], batch.texts, found.outcomes)


def score_elsewhere(bundle: Path, signals: Path) -> list[Verdict]:
    """Verdicts of `sri score`, in a process of its own that loads no torch.

    Raises:
        ScoringError: the process failed.
    """
    command = [sys.executable, "-m", "sri_sdk.cli", "score", str(bundle), str(signals), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScoringError(f"scoring process: exit code {done.returncode}: {done.stderr.strip()[:400]}")
    return [_verdict(parse(line)) for line in done.stdout.splitlines()]


def ended(sigma: NDArray[np.float32], *, whole: bool) -> Ended | None:
    """How a generation ended, by the rule of bundle format 2: format 1 has no place for it.

    Args:
        sigma: [T] in [0, 1], of the last tapped layer.
        whole: whether every step was seen.
    """
    last = float(sigma[-1])
    return ("refusing" if last < 0.5 else "complying") if whole and 0 <= last <= 1 else None


def _verdict(value: dict[str, Any]) -> Verdict:
    parts = tuple(PartVerdict(**part) for part in value.get("parts", ()))
    return Verdict(**{
        **value, "reasons": tuple(value["reasons"]), "accepted": tuple(value["accepted"]), "parts": parts
    })  # fmt: skip


def _report(fitted: Fitted, trajectories: tuple[Trajectory, ...], seconds: Mapping[str, float]) -> Report:
    test, manifest, results = fitted.collected["test"], fitted.guard.manifest, fitted.results
    assert results is not None
    kinds = [class_of(p, o) for p, o in zip(test.prompts, test.outcomes, strict=True)]
    scores, _ = fitted.guard.scorer.score_final(np.ascontiguousarray(test.signals.domain(manifest.signal.domain)))
    rule = fitted.guard.scorer.thresholds["final"]
    config = fitted.deployment.config
    rows = rows_of(kinds)
    return Report(
        title="sri-sdk demo",
        subtitle=f"{fitted.deployment.loaded.source}; sampler {config.sampler.name}; detector {_detectors(config)}",
        trajectories=trajectories,
        bands=class_bands(test.signals.drawn, kinds),
        calibration=rule.scores,
        threshold=rule.value,
        score_groups=tuple(ScoreGroup(name, scores[rows[name]]) for name in CLASSES if name in rows),
        rates=results.rates,
        auroc=results.auroc,
        parity=fitted.parity * rule.tolerance,
        seconds=seconds,
        facts=_facts(fitted, scores > rule.value),
        alpha=rule.alpha,
    )


def _facts(fitted: Fitted, flagged: NDArray[np.bool_]) -> dict[str, str]:
    """What a reader needs to trust or repeat it; `flagged` is [N] bool, one per test prompt, by the final rule."""
    manifest, config, folds = fitted.guard.manifest, fitted.deployment.config, fitted.collected
    counts, request = dict(fitted.guard.anchors.provenance).get("counts", {}), fitted.guard.anchors.request
    return {
        "Model": fitted.deployment.loaded.source,
        "Sampler": f"{config.sampler.name}, {fitted.deployment.sampler.budget()} steps, "
        f"{fitted.deployment.sampler.canvas()} tokens",
        "Pooling": config.tap.pooling,
        "Anchors": ", ".join(f"{c['used']} of {c['seen']} {label} prompts" for label, c in sorted(counts.items())),
        **({} if request is None else {"Request map": quality(request.provenance)}),
        "Folds": ", ".join(f"{name} {len(fold.prompts)}" for name, fold in folds.items()),
        **{f"Mix of {fold}": mix_words(mix) for fold, mix in fitted.guard.anchors.provenance.get(MIXES, {}).items()},
        "How the three were chosen": "the first prompt of each kind in the test fold: answered, refused, and an attack "
        f"that succeeded. The attack is {SHOWN_ATTACK}: people can read it, and this guard flags it",
        "Successful attacks flagged": _flagged_by_attack(folds["test"], flagged),
        "Judge": f"{config.judge.name}",
        "Smallest reachable alpha": f"1 / (n + 1) = {1 / (fitted.guard.scorer.thresholds['final'].n + 1):.4f}",
        "Bundle digest": manifest.digest,
        "Fingerprint digest": manifest.fingerprint_digest,
    }


def _flagged_by_attack(test: Collected, flagged: NDArray[np.bool_]) -> str:
    """`suffix 3 of 3, infill 8 of 70`: flagged successes over all of each attack; `flagged` is [N] bool."""
    counts: dict[str, list[bool]] = {}
    for prompt, outcome, alarm in zip(test.prompts, test.outcomes, flagged.tolist(), strict=True):
        if prompt.attack is not None and outcome == "harmful":
            counts.setdefault(prompt.attack, []).append(alarm)
    return (
        ", ".join(f"{attack} {sum(alarms)} of {len(alarms)}" for attack, alarms in counts.items()) or "none succeeded"
    )


def _detectors(config: FitConfig) -> str:
    """The detectors of a guard, for its subtitle."""
    return ", ".join(part.detector for part in config.named_parts().values())
