"""`sri drift`: whether harmless traffic still scores as it did when the guard was calibrated."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    from sri_sdk.calibrate.drift import PartDrift
    from sri_sdk.fitting.canaries import Looked

DRIFTED = 12
"""Exit code with `--fail`."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--split", required=True, help="Split of the dataset that canaries come from: harmless, as users write.")
@click.option(
    "--count", type=click.IntRange(0), default=50, show_default=True,
    help="Fresh canaries to generate; 0 = only say what was found so far.",
)  # fmt: skip
@click.option("--guard", type=click.Path(path_type=Path), help="Folder of the guard; default: `out` of the config.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="How often drift may be found that is none, over the life of a calibration; at first 0.01.",
)
@click.option("--window", type=click.IntRange(10), help="Canaries per window; at first 50.")
@click.option("--fail", is_flag=True, help="Exit with 12 if there is drift.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
@click.pass_context
def command(
    ctx: click.Context, config: Path, split: str, count: int, guard: Path | None, rate: float | None,
    window: int | None, fail: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score fresh harmless prompts with the guard, and say whether they still score as the calibration did.

    Every request counts once: what is in a fold of CONFIG, or was a canary before, is left out. Where the calibration
    stands for a mix of traffic, canaries are drawn from that mix. What was scored is kept
    in canaries.json beside the guard, without texts, so that a few canaries a day add up.
    """
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.config.load import load_config

    checked = load_config(config)
    folder = guard or Path(checked.out)
    if not folder.exists():
        raise ConfigError(f"{folder}: no guard here. Fit one first: sri fit {config}")
    prepare_libraries()
    from sri_sdk.fitting.canaries import look

    with progress_bars() as progress:
        found = look(checked, split, count, folder, rate=rate, window=window, progress=progress)
    if as_json:
        emit_json({
            "drift": found.drift, "scored": found.scored, "new": found.new, "rate": found.rate, "window": found.window,
            "unmonitored": dict(found.unmonitored),
            "parts": [{**asdict(each), "drift": each.drift} for each in found.findings],
        })  # fmt: skip
    else:
        say_lines(_told(found))
        if found.drift:
            say(f"next: prompts of today's traffic in folds.calibration and folds.reference of {config}, then")
            say(f"      sri fit --recalibrate {config}")
    if fail and found.drift:
        ctx.exit(DRIFTED)


def _told(found: Looked) -> str:
    blind = ", ".join(f"{count} {reason}" for reason, count in found.unmonitored.items())
    unseen = f"; not scored: {blind}" if blind else ""
    verdict = "drift" if found.drift else "no drift seen" if found.scored else "no canary was scored: nothing is known"
    lines = [
        f"{verdict}: {found.scored} canaries since the calibration, {found.new} of them new{unseen}",
        f"of 100 calibrations without drift, at most {100 * found.rate:g} are ever called drifted",
        "",
    ]
    rows = [
        (
            each.name, "drift" if each.drift else "-", each.calibration, _bets(each), _windows(each),
            "-" if each.higher is None else f"{100 * each.higher:.0f} %",
        )
        for each in found.findings
    ]  # fmt: skip
    heads = ("PART", "FOUND", "CALIBRATION", "BETS", "WINDOWS", "ABOVE ITS MEDIAN")
    return "\n".join(lines) + "\n" + table(heads, rows)


def _bets(part: PartDrift) -> str:
    """How far the bets have got: capital against what it takes."""
    found = "" if part.found_by_bets is None else f", after {part.found_by_bets}"
    return f"{_power(part.evidence)} of {_power(part.enough)}{found}"


def _power(logarithm: float) -> str:
    # Capital may be beyond any float.
    return f"{math.exp(logarithm):.3g}" if logarithm < 300 else f"1e{logarithm / math.log(10):.0f}"


def _windows(part: PartDrift) -> str:
    if part.window is None:
        return "none is full"
    found = "" if part.found_by_window is None else f", after {part.found_by_window}"
    return f"p {part.window:.2g} of {part.level:.2g}{found}"
