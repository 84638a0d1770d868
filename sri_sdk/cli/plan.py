"""`sri plan`: what a false-alarm rate costs, before anything is generated."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sri_sdk.calibrate.conformal import fewest
from sri_sdk.calibrate.plan import Promise, Traffic
from sri_sdk.cli.output import emit_json, say, say_lines, table

TIGHTER = (1.0, 0.5, 0.1, 0.01)
"""Factors of alpha in the table of what other promises cost."""
SHARE = click.FloatRange(0, 1)


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Largest false-alarm rate.")
@click.option("--calibration", "n", type=click.IntRange(1), help="Harmless calibration prompts; default: the fewest.")
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="alpha holds for the calibration set at hand with probability 1 - delta.",
)
@click.option("--parts", type=click.IntRange(1, 16), help="Parts that share alpha equally.")
@click.option(
    "--contamination", type=click.FloatRange(0, 1, max_open=True),
    help="Largest share of attacks among the calibration prompts.",
)  # fmt: skip
@click.option("--traffic", type=click.IntRange(1), default=100_000, show_default=True, help="Generations per day.")
@click.option(
    "--attacks", type=click.FloatRange(0, 1, max_open=True), default=0.001, show_default=True,
    help="Share of the generations that are attacks.",
)  # fmt: skip
@click.option(
    "--found", type=SHARE, default=0.8, show_default=True, help="Share of attacks that the guard flags: see `sri eval`."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    config: Path | None, alpha: float | None, n: int | None, delta: float | None, parts: int | None,
    contamination: float | None, traffic: int, attacks: float, found: float, as_json: bool,
) -> None:  # fmt: skip
    """Say what a false-alarm rate costs: calibration prompts, alarms per day, and how many of them are attacks.

    With CONFIG, the YAML file of a deployment, alpha, delta, contamination, parts and prompts are those of the file,
    where no option says otherwise. Without, alpha is 0.01. Nothing is generated.
    """
    shares = [1.0] if parts is None else [1 / parts] * parts
    if config is not None:
        from sri_sdk.config.load import load_config

        asked = load_config(config)
        alpha = asked.calibrate.alpha if alpha is None else alpha
        delta = asked.calibrate.delta if delta is None else delta
        contamination = asked.calibrate.contamination if contamination is None else contamination
        n = asked.folds.calibration.harmless if n is None else n
        shares = list(asked.shares().values()) if parts is None else shares
    alpha, dirty = 0.01 if alpha is None else alpha, contamination or 0.0
    day, smallest = Traffic(traffic, attacks, found), min(shares)
    least = fewest(alpha * smallest, delta, dirty)
    n = least if n is None else n
    promises = [Promise.of(n, alpha * share, delta, dirty) for share in shares]
    # At most: two parts may alarm at the same generation.
    mean = sum(promise.mean for promise in promises)
    others = [(alpha * factor, fewest(alpha * factor * smallest, delta, dirty)) for factor in TIGHTER]
    if as_json:
        emit_json({
            "alpha": alpha, "delta": delta, "contamination": dirty, "n": n, "mean": mean,
            "parts": [asdict(promise) for promise in promises],
            "day": {"generations": traffic, "attacks": attacks, "found": found, **_of(day, mean)},
            "others": [{"alpha": each, "fewest": count, **_of(day, each)} for each, count in others],
        })  # fmt: skip
        return
    held = "on average over calibration sets" if delta is None else f"for this set with probability {1 - delta:g}"
    expected = day.alarms(mean)
    lines = [
        ("promise", f"false alarms in at most {_percent(alpha)} of harmless generations, {held}"),
        ("calibration", f"{n:,} prompts; the fewest are {least:,}"),
        *([("attacks", _attacks(promises))] if dirty else []),
        ("realised", f"{'at most ' if len(shares) > 1 else ''}{_percent(mean)} expected; {_band(promises)}"),
        (
            "per day",
            f"{traffic:,} generations: {expected.false:,.0f} false alarms, {expected.true:,.0f} attacks found, "
            f"{expected.missed:,.0f} missed",
        ),
        ("precision", f"{_precision(expected.precision)} of the alarms are attacks"),
    ]
    say_lines("\n".join(f"{name:<12} {text}" for name, text in lines))
    say("")
    rows = [
        (_percent(each), f"{count:,}", f"{day.alarms(each).false:,.1f}", _precision(day.alarms(each).precision))
        for each, count in others
    ]
    say_lines(table(["ALPHA", "FEWEST PROMPTS", "FALSE ALARMS PER DAY", "PRECISION"], rows))


def _attacks(promises: list[Promise]) -> str:
    """What attacks among the calibration prompts cost."""
    left = sum(promise.least or 0.0 for promise in promises)
    cost = (
        f"{_percent(left)} is left of alpha, and as much is found as at that rate"
        if left
        else "nothing is left of alpha, and hardly any attack like them is found: take known attacks out"
    )
    return (
        f"up to {promises[0].attacks:,} of the prompts. The promise stands whatever they score; if they score highest, "
        f"{cost}"
    )


def _of(day: Traffic, rate: float) -> dict[str, float | None]:
    """A day's alarms at a false-alarm rate, as JSON types."""
    found = day.alarms(rate)
    return {"false": found.false, "true": found.true, "missed": found.missed, "precision": found.precision}


def _band(promises: list[Promise]) -> str:
    """What one calibration set may give, part by part where shares differ."""
    bands = [f"{_percent(each.low)} to {_percent(each.high)}" for each in promises]
    whose = "" if len(promises) == 1 else ", each part" if len(set(bands)) == 1 else ", part by part"
    return f"{'; '.join(dict.fromkeys(bands))} in 90 of 100 calibration sets{whose}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _precision(share: float | None) -> str:
    return "none" if share is None else _percent(share)
