"""Whether a request map of a large model fits into memory: 2,000 prompts, 32 layers of width 4,096.

    python benchmarks/request_map_size.py

Prints memory and time of the fit, and how well it does on fresh samples of the same make-believe states, where harm is
one direction among 131,072 under noise.
"""

import time
from pathlib import Path

import numpy as np

from sri_sdk.fitting.request import fit_request_map
from sri_sdk.records import Prompt

PROMPTS, LAYERS, WIDTH = 2000, 32, 4096


def peak() -> float:
    """The most memory that this process has had, GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))


def drawn(seed: int, count: int, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States [N, C, D] float32 and whether each is harmful, [N] bool."""
    generator = np.random.default_rng(seed)
    states = generator.standard_normal((count, LAYERS, WIDTH), dtype=np.float32)
    harmful = np.arange(count) % 2 == 1
    states[harmful] += direction
    return states, harmful


def main() -> None:
    """Fits once."""
    direction = np.random.default_rng(0).standard_normal((LAYERS, WIDTH), dtype=np.float32) * np.float32(0.02)
    states, harmful = drawn(1, PROMPTS, direction)
    prompts = [Prompt(str(i), str(i), "harmful" if bad else "harmless") for i, bad in enumerate(harmful)]
    before, start = peak(), time.perf_counter()
    fitted = fit_request_map(states, prompts)
    seconds = time.perf_counter() - start
    fresh, bad = drawn(2, 400, direction)
    right = ((fitted.map.log_odds(fresh) < 0) == bad).mean()
    held = ((fitted.held_out < 0) == harmful).mean()
    print(f"states {states.nbytes / 1e9:.2f} GB; peak before the fit {before:.2f} GB, after it {peak():.2f} GB")
    print(f"{seconds:.1f} s; right on {PROMPTS} held-out samples {held:.3f}, on 400 fresh ones {right:.3f}")


if __name__ == "__main__":
    main()
