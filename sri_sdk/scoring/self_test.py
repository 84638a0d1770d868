"""The golden self-test: a runtime that computes other numbers never scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.golden import probe
from sri_sdk.errors import BundleError
from sri_sdk.scoring.runtime import RunGraph

MOST_TIME = 2**29
"""Nanoseconds for the golden rows of one graph: half a second. `full` may take that of eight of its rows."""


def self_test(bundle: Bundle, runs: Mapping[str, RunGraph]) -> dict[str, float]:
    """Runs the golden vectors of every given graph; returns the largest share of the tolerance each one used.

    Raises:
        BundleError: a score outside its tolerance, another `valid`, or another verdict.
    """
    used = {}
    for name, run in runs.items():
        golden = bundle.manifest.golden[name]
        _affordable(bundle, name, run, golden.score.shape[0])
        inputs = golden_inputs(bundle, name)
        expected, tolerance = golden.score.unpack(), golden.tolerance.unpack().astype(np.float64)
        try:
            score, valid = run(["score", "valid"], inputs)
        except BundleError as err:
            raise BundleError(
                f"{bundle.path}: graph {name} fails on its golden inputs. Export the guard again."
            ) from err
        if (found := {score.shape, valid.shape}) != {expected.shape}:
            raise BundleError(
                f"{bundle.path}: graph {name} answers golden rows with shapes {sorted(found)}, "
                f"expected {expected.shape}. Export the guard again."
            )
        if not np.array_equal(valid, golden.valid.unpack()):
            at = _first(valid != golden.valid.unpack())
            raise BundleError(
                f"{bundle.path}: graph {name} says valid = {bool(valid[at])} for golden row {_place(at)}, expected "
                f"{not valid[at]}. Use another onnxruntime, or export the guard again."
            )
        gap = np.abs(score.astype(np.float64) - expected)
        wrong = ~(gap <= tolerance)  # Written so that NaN is wrong.
        if wrong.any():
            at = _first(wrong)
            raise BundleError(
                f"{bundle.path}: graph {name} scores golden row {_place(at)} {score[at]:g}, expected {expected[at]:g} "
                f"within {tolerance[at]:.2g}. Use another onnxruntime, or export the guard again."
            )
        used[name] = float((gap[valid] / tolerance[valid]).max(initial=0.0))
    return used


def golden_inputs(bundle: Bundle, name: str) -> dict[str, NDArray[Any]]:
    """The golden inputs [G, ...] of one graph, by name: those that are stored, and hidden states made by the rule."""
    golden, rows = bundle.manifest.golden[name], bundle.manifest.golden[name].score.shape[0]
    inputs = {key: packed.unpack() for key, packed in golden.inputs.items()}
    for key, entry in bundle.manifest.graphs[name].inputs.items():
        if key not in inputs:
            inputs[key] = probe(tuple(int(size) for size in entry.shape[1:]), rows)
    return inputs


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    """The first place of a [G] or [G, K] array that is True."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _place(at: tuple[int, ...]) -> str:
    return str(at[0]) if len(at) == 1 else f"{at[0]}, part {at[1]},"


def _affordable(bundle: Bundle, name: str, run: RunGraph, rows: int) -> None:
    """Refuses golden rows that would take too long, before any is run."""
    if run.work is None:
        return
    most = max(MOST_TIME, 8 * run.work.most_time)
    if rows * run.work.time > most:
        raise BundleError(
            f"{bundle.path}: graph {name} may take {run.work.time} ns per row, and {rows} golden rows "
            f"{rows * run.work.time}; allowed: up to {most}. It was not run. Give it fewer golden rows, or draw a "
            "smaller detector."
        )
