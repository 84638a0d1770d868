"""`sri fit`: a guard from one YAML file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sri_sdk.bundle.entries import CONTAMINATION
from sri_sdk.bundle.files import SIGNATURE
from sri_sdk.bundle.manifest_v2 import NamedThreshold, thresholds_of
from sri_sdk.cli.compare import compare_detectors
from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.cli.workers import executor_of, worker_options
from sri_sdk.metrics.results import CLASS_WORDS

if TYPE_CHECKING:
    from sri_sdk.bundle.golden import Coverage
    from sri_sdk.fitting.fit import Fitted
    from sri_sdk.metrics.guard_rates import GuardRates


EVERY = "every installed one"
"""Of detectors to compare, where none is named."""


@click.command()
@click.argument("config", metavar="CONFIG", required=False, type=click.Path(path_type=Path))
@click.option("--recalibrate", is_flag=True, help="Keep anchors and detector; set new thresholds on new prompts.")
@click.option(
    "--compare", is_flag=False, flag_value=EVERY, metavar="[NAME,NAME...]",
    help="Instead of a guard: fit detectors on the folds, all that are installed or these, and show them side by side.",
)  # fmt: skip
@worker_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
def command(
    config: Path | None, recalibrate: bool, compare: str | None, workers: int | None, ray: str | None,
    patience: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Fit, calibrate, export and measure a guard. Interrupted, it continues where it stopped."""
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.config.load import load_config

    if config is None:
        hint = "" if compare in (None, EVERY) else f" {compare!r} was taken for names: write CONFIG before --compare."
        raise click.UsageError(f"Missing argument 'CONFIG'.{hint}")
    if compare is not None and recalibrate:
        raise click.UsageError("--compare fits detectors anew, and --recalibrate keeps one: choose one of them.")
    checked = load_config(config)
    prepare_libraries()
    executor = executor_of(workers, ray, patience)
    if compare is not None:
        names = () if compare == EVERY else compare.split(",")
        compare_detectors(checked, names, executor, as_json=as_json)
        return
    from sri_sdk.fitting.fit import fit

    signature = Path(checked.out) / "bundle" / SIGNATURE
    signed = signature.is_file()
    with progress_bars() as progress:
        fitted = fit(checked, progress, recalibrate=recalibrate, executor=executor)
    if signed and not signature.exists():
        # A server that asks for a signature refuses the new one, and goes on with the old.
        say(
            f"{signature.parent}: the guard before was signed, and this one is not: sri bundle sign {signature.parent} "
            "--key KEY",
            err=True,
        )
    if as_json:
        emit_json({**summary(fitted), "out": str(checked.out)})
        return
    say_lines(describe(fitted))
    say_lines("")
    say(f"guard: {checked.out}   bundle: {Path(checked.out) / 'bundle'}   try: sri run {config}")


def summary(fitted: Fitted) -> dict[str, Any]:
    """What a program wants to know of a fit, as JSON types."""
    from sri_sdk.fitting.prompts import MIXES

    manifest, results = fitted.guard.manifest, fitted.results
    rates = results.rates if results is not None else ()
    request = fitted.guard.anchors.request
    return {
        "bundle_digest": manifest.digest,
        "fingerprint_digest": manifest.fingerprint_digest,
        "prompts": {fold: dict(counts) for fold, counts in fitted.counts.items()},
        **{name: fitted.guard.anchors.provenance[name] for name in (MIXES,) if name in fitted.guard.anchors.provenance},
        "anchors": dict(fitted.guard.anchors.provenance).get("counts", {}),
        **({CONTAMINATION: stated} if (stated := manifest.producer.get(CONTAMINATION)) else {}),
        **({} if request is None else {"request": dict(request.provenance)}),
        **({} if fitted.attacks is None else {"labelled": fitted.attacks.counts()}),
        "thresholds": {
            _named(each): {"value": r.value, "alpha": r.alpha, "delta": r.delta, "n": r.n, "rank": r.rank}
            for each in thresholds_of(manifest)
            for r in (each.threshold,)
        },
        "rates": {r.name: {"k": r.k, "n": r.n, "rate": r.k / r.n, "low": r.low, "high": r.high} for r in rates if r.n},
        "auroc": None if results is None or results.auroc is None else results.auroc.to_dict(),
        "parity": {"share_of_tolerance": fitted.parity, "tolerance": thresholds_of(manifest)[0].threshold.tolerance},
        "counters": fitted.counters.to_dict(),
        "golden": {name: asdict(each) for name, each in fitted.noticed.items()},
        "seconds": dict(fitted.seconds),
    }


def _named(found: NamedThreshold) -> str:
    """`final`, or `final harm en` where a guard has parts and groups."""
    return " ".join(filter(None, found[:3]))


def _noticed(found: Coverage) -> str:
    text = f"{100 * found.share:.4g} % of {found.tried:,} constants tried (of {found.of:,}) move an answer"
    if found.unmoved:
        text += "; nothing moves " + ", ".join(f"{count} in {name}" for name, count in found.unmoved.items())
    return text + (f"; {found.learnt:,} numbers in trees or support vectors were not tried" if found.learnt else "")


def describe(fitted: Fitted) -> str:
    """The same for a person."""
    from sri_sdk.fitting.counters import rows as counter_rows
    from sri_sdk.fitting.prompts import MIXES, mix_words
    from sri_sdk.fitting.request_stage import words as quality

    manifest, results = fitted.guard.manifest, fitted.results
    provenance, request = dict(fitted.guard.anchors.provenance), fitted.guard.anchors.request
    counts, mixes = provenance.get("counts", {}), provenance.get(MIXES, {})
    used = ", ".join(f"{c['used']} of {c['seen']} {name} prompts counted" for name, c in sorted(counts.items()))
    lines = [
        f"anchors     {used or 'none: this guard reads the request alone'}",
        *([] if request is None else [f"request     {quality(request.provenance)}"]),
        *(f"mix         {fold}: {mix_words(mix)}" for fold, mix in mixes.items()),
        *([] if fitted.attacks is None else [f"labelled    {fitted.attacks}"]),
        *(
            f"{_named(each):<11} flags at a score above {r.value:.6g}; at most {100 * r.alpha:g} % false alarms"
            + (f" with probability {1 - r.delta:g}" if r.delta is not None else " on average over calibrations")
            + f" (n = {r.n})"
            for each in thresholds_of(manifest)
            for r in (each.threshold,)
        ),
        *([f"calibration {stated}"] if (stated := manifest.producer.get(CONTAMINATION)) else []),
        f"parity      largest difference between detector and graph: {100 * fitted.parity:.2g} % of what is allowed",
        *(f"golden      {name}: {_noticed(each)}" for name, each in fitted.noticed.items()),
    ]
    lines += ["", table(("counter", "k / n", "meaning"), counter_rows(fitted.counters.total()))]
    if results is None:
        return "\n".join(lines)
    rows = [(rate_words(r.name), f"{100 * r.value:.1f} %", f"{r.k} / {r.n}",
             f"{100 * r.low:.1f} to {100 * r.high:.1f} %")
            for r in results.rates if r.n]  # fmt: skip
    lines += ["", table(("rate", "measured", "k / n", "95 % interval"), rows)]
    if results.auroc is not None:
        a = results.auroc
        lines += [
            "",
            f"AUROC {a.value:.3f} ({a.low:.3f} to {a.high:.3f}): {a.positives} responses that do harm "
            f"({_harm(results)}) against {a.negatives} harmless generations",
        ]
    return "\n".join(lines)


def rate_words(name: str) -> str:
    """The name of a rate, as a person says it: `flagged:final:success:suffix` is `final: flagged of attack suffix`."""
    kind, _, rest = name.partition(":")
    if kind == "success":
        return f"attack {rest} succeeds"
    if kind == "refused":
        return f"{rest} prompts refused"
    if kind == "harm":
        return "harmful prompts answered without any attack"
    if kind == "false_alarm":
        rule, _, group = rest.partition(":")
        return f"{rule}: false alarms" + (f" in group {group}" if group else "")
    rule, _, group = rest.partition(":")
    attack = group.removeprefix("success:")
    if attack != group:
        return f"{rule}: flagged of successes of attack {attack}"
    return f"{rule}: flagged of {CLASS_WORDS.get(group, group)}"


def _harm(results: GuardRates) -> str:
    counts = {r.name.rpartition(":")[2]: r.n for r in results.rates if r.name.startswith("flagged:final:")}
    return f"{counts['successful_attack']} successful attacks, {counts['answered_harmful']} plain prompts"
