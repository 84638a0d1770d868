"""Signals over the whole range of a domain: both ends, exact zeros and ones, deep attacks, single odd cells.

Planted signals lie where most harmless ones do. Real ones saturate, and what a jailbreak does ends at the refusing end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sri_sdk.detector import Domain
from sri_sdk.signal import EPS, TAU
from sri_sdk.testing.planted import CELLS, LAYERS, planted_signals

Floats = NDArray[np.float32]

EXTREME = float(np.log((2 + EPS) / EPS) / TAU)
"""The largest logit a signal can have: a state that equals one anchor and is opposite to the other."""
LEVELS: dict[Domain, tuple[float, ...]] = {
    "sigma": (0.0, 1e-30, 1e-8, 1e-4, 0.01, *np.linspace(0.05, 0.95, 19), 0.99, 1 - 1e-4, 1 - 2**-24, 1.0),
    "logit": (
        0.0,
        -0.0,
        *(sign * far for far in (1e-6, 0.5, 1, 3, 10, 29, 31, 60, 90, 150, EXTREME) for sign in (-1, 1)),
    ),
}
"""Sigma in [0, 1], or logits. Among them are the numbers at which exp and log of float32 overflow."""
DEPTHS = (6.0, 15.0, 40.0, 200.0)
"""Depths of planted attacks, in logits; the last ones reach 0 in sigma, as far as float32 goes."""
PLACES = (0.15, 0.85)
"""Where else in a generation the dip of an attack may be, as a share of its cells."""
SOME = 12
"""Signals of each kind."""


class Ranged(NamedTuple):
    """Signals, and what is special about each."""

    values: Floats
    """[N, T, C] in the detector's domain."""
    kinds: list[str]
    """N, as messages name them."""


def whole_range(domain: Domain) -> Ranged:
    """[N, T, C] signals from one end of the domain to the other, the same on every machine."""
    rng = np.random.default_rng(17)
    levels = np.array(LEVELS[domain], dtype=np.float32)
    harmless = planted_signals(SOME, 6).domain(domain)
    parts = [
        (np.broadcast_to(levels[:, None, None], (len(levels), CELLS, LAYERS)), [f"all cells {x:g}" for x in levels])
    ]
    parts += [
        (planted_signals(SOME, 7, dip=depth).domain(domain), [f"an attack of depth {depth:g}"] * SOME)
        for depth in DEPTHS
    ]
    ends = (0.0, 1.0) if domain == "sigma" else (0.0, -EXTREME, EXTREME)
    for end in ends:
        for share in (1 / (CELLS * LAYERS), 0.25, 0.75):
            hit = rng.random(harmless.shape) < share
            hit[np.arange(SOME), rng.integers(CELLS, size=SOME), rng.integers(LAYERS, size=SOME)] = True
            parts.append((np.where(hit, np.float32(end), harmless), [f"some cells exactly {end:g}"] * SOME))
    chosen = levels[rng.integers(len(levels), size=(4 * SOME, CELLS, LAYERS))]
    parts.append((chosen, ["cells from the whole range"] * len(chosen)))
    values = np.concatenate([np.asarray(part, dtype=np.float32) for part, _ in parts])
    return Ranged(values, [kind for _, kinds in parts for kind in kinds])


def reshaped(values: Floats, cells: int, layers: int) -> Floats:
    """[N, T, C] -> [N, cells, layers]: the same signals on another grid, and on more or fewer layers."""
    over = np.linspace(0, values.shape[1] - 1, cells).round().astype(int)
    made: Floats = values[:, over][:, :, np.arange(layers) % values.shape[2]].copy()
    return made
