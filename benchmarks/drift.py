"""How often drift is found that is none, and how many canaries it takes to find some; simulated.

    python benchmarks/drift.py [--streams 1000]

Scores are normal, 199 of them calibrate, windows hold 50 canaries. Streams without drift have 200 canaries each; the
others end when drift is found, after 400 at the latest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from sri_sdk.calibrate.drift import Canaries
from sri_sdk.metrics.rates import exact_rate

CALIBRATION, WINDOW, CALM, MOST = 199, 50, 200, 400
Draw = Callable[[np.random.Generator, int], float]
SHIFTS: dict[str, Draw] = {
    "half a spread up": lambda rng, _: rng.normal(0.5),
    "one spread up": lambda rng, _: rng.normal(1),
    "two spreads up": lambda rng, _: rng.normal(2),
    "one spread down": lambda rng, _: rng.normal(-1),
    "twice as wide": lambda rng, _: rng.normal(0, 2),
    "one in ten, four spreads up": lambda rng, _: rng.normal(4 * (rng.random() < 0.1)),
    "one spread up, from the 200th on": lambda rng, k: rng.normal(float(k >= CALM)),
}


def stream(seed: int, draw: Draw, *, rate: float, most: int, stop: bool) -> tuple[Canaries, int]:
    """One stream, and how many canaries it took."""
    rng = np.random.default_rng(seed)
    made = Canaries({"a": rng.normal(size=CALIBRATION)}, rate=rate, window=WINDOW, seed=str(seed))
    for k in range(most):
        made.add(str(k), {"a": float(draw(rng, k))})
        if stop and made.drift:
            return made, k + 1
    return made, most


def main() -> None:
    """Both tables."""
    options = argparse.ArgumentParser()
    options.add_argument("--streams", type=int, default=1000)
    count = options.parse_args().streams
    calm = [
        stream(seed, lambda rng, _: rng.normal(), rate=0.01, most=CALM, stop=False)[0].findings()[0]
        for seed in range(count)
    ]
    for rate in (0.01, 0.05, 0.1):
        # The tests compare what they found with the rate, so one set of streams does for every rate.
        bets = [each.evidence >= -np.log(rate / 2) for each in calm]
        windows = [each.window is not None and each.window <= rate / 2 for each in calm]
        either = int((np.array(bets) | np.array(windows)).sum())
        found = exact_rate(f"stated {rate:g}", either, count)
        print(
            f"stated {100 * rate:g} %: found in {either} of {count} streams ({100 * found.low:.2g} to "
            f"{100 * found.high:.2g} %); by bets {sum(bets)}, by windows {sum(windows)}"
        )
    for name, draw in SHIFTS.items():
        took = [stream(10**6 + seed, draw, rate=0.01, most=MOST, stop=True) for seed in range(count // 10)]
        delays = sorted(number for made, number in took if made.drift)
        low, middle, high = np.quantile(delays, [0.1, 0.5, 0.9]) if delays else (np.nan,) * 3
        print(
            f"{name}: found in {len(delays)} of {len(took)} within {MOST} canaries; after {middle:.0f} "
            f"({low:.0f} to {high:.0f}, 80 % of streams)"
        )


if __name__ == "__main__":
    main()
