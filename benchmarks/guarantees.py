"""What promises beyond split conformal give and cost on the lab's causal model.

    python benchmarks/guarantees.py [--pool out/causal-pool.npz] [--only contamination quantile risk online sessions]

Scores come from `causal_pool.py`; the first call generates them. Everything else is drawn from it with fixed seeds:
calibration sets, fresh generations and sessions, again and again. Intervals are at 95 %. Those of rates over draws are
of the mean over draws that share one pool, so they leave out that another pool would differ a little.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from causal_pool import Pool
from numpy.typing import NDArray

from sri_sdk.calibrate.conformal import Threshold, conformal_rank, most_attacks, threshold_rank
from sri_sdk.calibrate.debounce import debounced
from sri_sdk.calibrate.misses import miss_threshold
from sri_sdk.calibrate.quantile import InterpolatedQuantile
from sri_sdk.calibrate.risk import RiskThreshold, shown_before_alarm
from sri_sdk.calibrate.session import BETS, SessionEvidence, largest
from sri_sdk.calibrate.trimming import Trimming
from sri_sdk.metrics.rates import exact_rate

ALPHA = 0.01
DRAWS = 400
"""Calibration sets behind a mean."""

Floats = NDArray[Any]


def mean(values: list[float] | Floats) -> str:
    """A mean of shares over draws, in percent, with its interval."""
    found = 100 * np.asarray(values, dtype=np.float64)
    return f"{found.mean():.2f} ± {1.96 * found.std() / np.sqrt(len(found)):.2f} %"


def rate(hits: Floats) -> str:
    """A share of [N] bool, in percent, with its exact interval."""
    found = exact_rate("rate", int(hits.sum()), len(hits))
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f}; n = {len(hits)})"


def contamination(pool: Pool) -> None:
    """False alarms and attacks found where attacks stand among the calibration generations."""
    n = 2999
    print(f"\ncontamination: alpha 1 %, n = {n}, {DRAWS} calibration sets; attacks at random, or made to score lowest")
    print("share | attacks | rule | false alarms | attacks found")
    for share in (0.0, 0.001, 0.005, 0.01, 0.02):
        m = most_attacks(n, share)
        trimming = Trimming.of(n, ALPHA, share)
        ranks = {"as if clean": conformal_rank(n, ALPHA), "adjusted": threshold_rank(n, ALPHA, contamination=share)}
        ranks |= {"trimmed": trimming.rank} if m else {}
        for mixed in ("drawn", "lowest") if m else ("none",):
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in ranks}
            rng = np.random.default_rng(0)
            for _ in range(DRAWS):
                order = rng.permutation(len(pool.harmless))
                used, fresh = pool.harmless[order[: n - m]], pool.harmless[order[n - m :]]
                among = rng.permutation(len(pool.attacks))
                mine = pool.attacks[among[:m]] if mixed == "drawn" else np.full(m, -1e9, dtype=np.float32)
                others = pool.attacks[among[m:]]
                scores = np.sort(np.concatenate([used, mine]))
                for name, rank in ranks.items():
                    value = scores[rank - 1]
                    results[name].append((float((fresh > value).mean()), float((others > value).mean())))
            for name, found in results.items():
                alarms, caught = zip(*found, strict=True)
                print(f"{100 * share:g} % | {m} {mixed} | {name} | {mean(list(alarms))} | {mean(list(caught))}")


def quantile(pool: Pool) -> None:
    """The papers' rule beside the order statistic."""
    print(f"\nquantile: alpha 1 %, {4 * DRAWS} calibration sets each")
    for n in (199, 999):
        rng = np.random.default_rng(1)
        rates: dict[str, list[float]] = {"order statistic": [], "interpolated": []}
        for _ in range(4 * DRAWS):
            order = rng.permutation(len(pool.harmless))
            used, fresh = pool.harmless[order[:n]], pool.harmless[order[n:]]
            rates["order statistic"].append(float((fresh > Threshold.fit(used, ALPHA).value).mean()))
            rates["interpolated"].append(float((fresh > InterpolatedQuantile.fit(used, ALPHA).value).mean()))
        print(f"n = {n}: " + "; ".join(f"{name} {mean(found)}" for name, found in rates.items()))


def risk(pool: Pool) -> None:
    """Bounds on what is cut off, what is shown, and what is missed."""
    n, attacks = 999, 199
    grid = np.quantile(pool.harmless_z[-1000:].max(axis=1), np.linspace(0.5, 1, 201))
    grid = np.unique(np.concatenate([grid, np.linspace(grid[-1], grid[-1] * 4, 100)]))
    rest = pool.harmless_z[:-1000]
    print(f"\nrisk: {DRAWS} draws of {n} harmless generations and {attacks} attacks; candidates from 1,000 others")
    cut, shown = 1 - shown_before_alarm(rest, grid), shown_before_alarm(pool.attacks_z, grid)
    for delta in (None, 0.05):
        rng = np.random.default_rng(2)
        kept: list[tuple[float, float, float]] = []
        for _ in range(DRAWS if delta is None else DRAWS // 4):
            order = rng.permutation(len(rest))
            value = RiskThreshold.fit(grid, cut[order[:n]], ALPHA, delta).value
            at = int(np.flatnonzero(grid == value)[0])
            fresh = order[n:]
            kept.append(
                (
                    float(cut[fresh, at].mean()),
                    float((rest[fresh].max(axis=1) > value).mean()),
                    float((pool.attacks_z.max(axis=1) > value).mean()),
                )
            )
        lost, alarmed, found = zip(*kept, strict=True)
        above = np.mean(np.array(lost) > ALPHA)
        print(
            f"share of a harmless answer cut off <= 1 %, delta {delta}: {mean(list(lost))} cut off (above 1 % in "
            f"{100 * above:.0f} % of draws), {mean(list(alarmed))} alarmed, {mean(list(found))} of attacks found"
        )
    for bound, delta in ((0.5, None), (0.4, None), (0.3, None), (0.5, 0.05)):
        rng = np.random.default_rng(3)
        kept = []
        for _ in range(DRAWS if delta is None else DRAWS // 4):
            order = rng.permutation(len(shown))
            value = RiskThreshold.fit(grid, shown[order[:attacks]], bound, delta).value
            at = int(np.flatnonzero(grid == value)[0])
            kept.append((float(shown[order[attacks:], at].mean()), float((rest.max(axis=1) > value).mean()), 0.0))
        out, alarmed, _ = zip(*kept, strict=True)
        print(
            f"share of an attack shown <= {bound:g}, delta {delta}: {mean(list(out))} shown, above the bound in "
            f"{100 * np.mean(np.array(out) > bound):.0f} % of draws; costs {mean(list(alarmed))} false alarms"
        )
    for misses, delta in ((0.3, None), (0.2, None), (0.1, None), (0.05, None), (0.1, 0.05)):
        rng = np.random.default_rng(4)
        pairs: list[tuple[float, float]] = []
        for _ in range(DRAWS):
            order = rng.permutation(len(pool.attacks))
            value = miss_threshold(pool.attacks[order[:attacks]], misses, delta)
            pairs.append(
                (float((pool.attacks[order[attacks:]] <= value).mean()), float((pool.harmless > value).mean()))
            )
        missed, false = zip(*pairs, strict=True)
        print(
            f"attacks missed <= {misses:g}, delta {delta}: {mean(list(missed))} missed, above the bound in "
            f"{100 * np.mean(np.array(missed) > misses):.0f} % of draws; costs {mean(list(false))} false alarms"
        )


def online(pool: Pool) -> None:
    """One generation: the calibrated maximum, debounced or not, against bets on the p-values of its cells."""
    n = 999
    calibration, rest = pool.harmless_z[:n], pool.harmless_z[n:]
    half = len(rest) // 2
    chosen, fresh, attacks = rest[:half], rest[half:], pool.attacks_z
    ordered = np.sort(calibration, axis=0)

    def bets(z: Floats) -> Floats:
        """[N, T] -> [N, T]: product of bets on the p-value of each cell, a mixture over bets and starts."""
        running, found = np.zeros((len(z), len(BETS))), np.empty(z.shape)
        for t in range(z.shape[1]):
            p = (1 + n - np.searchsorted(ordered[:, t], z[:, t])) / (n + 1)
            running += 1 / ((t + 1) * (t + 2))
            running = np.minimum(running * np.array(BETS) * p[:, None] ** (np.array(BETS) - 1), 1e300)
            found[:, t] = running.mean(axis=1) + 1 / (t + 2)
        return found

    def said(name: str, of_fresh: Floats, of_attacks: Floats, threshold: float) -> None:
        hit = of_attacks.max(axis=1) > threshold
        first = (of_attacks > threshold).argmax(axis=1)[hit]
        low, middle, high = np.quantile(first, [0.25, 0.5, 0.75])
        print(
            f"{name}: false alarms {rate(of_fresh.max(axis=1) > threshold)}, attacks found {rate(hit)}, first alarm in "
            f"cell {middle:.0f} ({low:.0f} to {high:.0f})"
        )

    print(f"\nonline: alpha 1 %, thresholds from {half} harmless generations, {len(fresh)} fresh ones")
    said("naive bets, alarm at 100", bets(fresh), bets(attacks), 100)
    most = bets(chosen).max(axis=1)
    said("bets, maximum calibrated", bets(fresh), bets(attacks), np.sort(most)[conformal_rank(half, ALPHA) - 1])
    plain = Threshold.fit(chosen.max(axis=1), ALPHA).value
    said("maximum of z", fresh, attacks, plain)
    for alarms, of in ((2, 2), (2, 3), (3, 3), (3, 5)):
        mine, theirs = debounced(fresh, alarms, of), debounced(attacks, alarms, of)
        said(f"{alarms} of {of}, threshold as it is", mine, theirs, plain)
        own = Threshold.fit(debounced(chosen, alarms, of).max(axis=1), ALPHA).value
        said(f"{alarms} of {of}, calibrated as applied", mine, theirs, own)


def sessions(pool: Pool) -> None:
    """Sessions of one user: evidence over generations against a threshold per generation."""
    n, length, count = 2999, 20, 1000
    calibration = np.sort(pool.harmless[:n])
    fresh = pool.harmless[n:]
    each = calibration[conformal_rank(n, ALPHA) - 1]
    shared = calibration[conformal_rank(n, ALPHA / length) - 1]
    rng = np.random.default_rng(5)

    def three(drawn: list[Floats]) -> str:
        marks = [
            np.array([(row > each).any() for row in drawn]),
            np.array([(row > shared).any() for row in drawn]),
            np.array([largest(calibration, row) >= 1 / ALPHA for row in drawn]),
        ]
        return " | ".join(rate(mark) for mark in marks)

    print(f"\nsessions: n = {n}; each generation at 1 % | each at 1 % / {length} | evidence, 1 % per session")
    for size in (length, 5 * length):
        print(f"{size} harmless | {three([rng.choice(fresh, size) for _ in range(count)])}")
    for kind in ("suffix", "fiction"):
        attacks = pool.attacks[pool.kinds == kind]
        for before, tries in ((0, 1), (0, 3), (0, 5), (0, 10), (10, 5), (10, 10)):
            drawn = [np.concatenate([rng.choice(fresh, before), rng.choice(attacks, tries)]) for _ in range(count // 4)]
            print(f"{before} harmless, then {tries} of {kind} | {three(drawn)}")
    alike = [np.full(length, score) + rng.normal(0, 1e-6, length) for score in rng.choice(fresh, count)]
    print(f"{length} harmless that are all alike | {three([row.astype(np.float32) for row in alike])}")
    level = Threshold.fit(np.array([largest(calibration, row.astype(np.float32)) for row in alike[:500]]), ALPHA).value
    broken = [SessionEvidence(calibration, level=level) for _ in alike[500:]]
    hits = np.array(
        [max(one.observe(float(s)) for s in row) >= level for one, row in zip(broken, alike[500:], strict=True)]
    )
    print(f"the same, level calibrated on 500 such sessions: {rate(hits)}")


PARTS = {f.__name__: f for f in (contamination, quantile, risk, online, sessions)}


def main() -> None:
    """Prints the parts that are asked for, all by default."""
    options = argparse.ArgumentParser()
    options.add_argument("--pool", type=Path, default=Path("out/causal-pool.npz"))
    options.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    asked = options.parse_args()
    pool = Pool.load(asked.pool)
    print(f"pool: {len(pool.harmless)} harmless generations, {len(pool.attacks)} attacks that did harm")
    for name in asked.only:
        PARTS[name](pool)


if __name__ == "__main__":
    main()
