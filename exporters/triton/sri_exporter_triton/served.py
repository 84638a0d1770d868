"""Compares a server's answers with the guard's: Triton runs no golden vectors itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.golden import probe
from sri_sdk.errors import BundleError

from .client import Client
from .repository import model_name

Inputs = dict[str, NDArray[Any]]


def check_served(client: Client, bundle: Bundle, graphs: list[str], prefix: str) -> dict[str, float]:
    """Asks a server for the golden vectors of a bundle.

    Args:
        client: the server.
        bundle: what it should serve.
        graphs: which of its graphs are served.
        prefix: the option `name` the repository was made with.

    Returns:
        Graph -> the largest difference, as a share of what is allowed.

    Raises:
        BundleError: the bundle has no such graph; the server has another guard, computes something else, or keeps no
            state.
        ScoringError: it does not answer.
    """
    used = {}
    for graph in graphs:
        bundle.graph(graph)  # Or says which graphs there are.
        model = model_name(graph, prefix)
        config = client.config(model)
        found = config.get("parameters", {}).get("sri_digest", {}).get("string_value")
        if found != bundle.digest:
            raise BundleError(
                f"{client.url}: model {model} is of guard {str(found)[:12]}, the bundle is {bundle.digest[:12]}. "
                "Serve a repository made from this bundle, or give the bundle that is served."
            )
        if graph == "step":
            used[graph] = _check_steps(client, bundle, model)
        else:
            used[graph] = _check_rows(client, bundle, graph, model, int(config.get("max_batch_size", 1)))
    return used


def _check_rows(client: Client, bundle: Bundle, graph: str, model: str, most: int) -> float:
    inputs = _golden_inputs(bundle, graph)
    rows = len(next(iter(inputs.values())))
    parts = [
        client.infer(model, {name: x[at : at + most] for name, x in inputs.items()}) for at in range(0, rows, most)
    ]
    answer = {name: np.concatenate([part[name].ravel() for part in parts]) for name in parts[0]}
    return _compare(client, bundle, graph, answer, slice(None))


def _check_steps(client: Client, bundle: Bundle, model: str) -> float:
    """A state cannot be sent. But golden row 0 is the first step of a generation, which no earlier state matters to;
    and of two more generations, one leaves the first cell out, so only a state that begins with NaN calls it invalid,
    and one goes on to a second cell, so only a state that is kept calls that valid."""  # fmt: skip
    phi = probe(tuple(int(x) for x in bundle.manifest.graphs["step"].inputs["phi"].shape[1:]), 4)[:1]
    largest = _compare(client, bundle, "step", _steps(client, model, phi, [0])[0], slice(0, 1))
    cells = bundle.manifest.signal.cells
    for steps, expected, problem in [
        ([1], [False], "the state of a new sequence does not begin with NaN"),
        ([0, 1], [True, True], "the state of a sequence is not kept"),
    ]:
        if max(steps) < cells:
            found = [bool(answer["valid"].ravel()[0]) for answer in _steps(client, model, phi, steps)]
            if found != expected:
                raise BundleError(
                    f"{client.url}: model {model}: {problem} (steps {steps}: valid {found}, must be {expected}). "
                    "Make the repository again, and serve it with a Triton that has implicit state."
                )
    return largest


def _steps(client: Client, model: str, phi: NDArray[np.float32], steps: list[int]) -> list[Mapping[str, NDArray[Any]]]:
    """One sequence from start to end, under a unique id.

    Args:
        client: the server.
        model: its name there.
        phi: [1, C, D] float32 pooled states, the same at every step.
        steps: cell that each step is in.

    Returns:
        Per step, `score` and `valid` of its one row.
    """
    name = f"sri-check-{uuid.uuid4()}"
    return [
        client.infer(
            model, {"phi": phi, "step": np.array([[step]], dtype=np.int64)}, sequence_id=name,
            sequence_start=at == 0, sequence_end=at == len(steps) - 1,
        )
        for at, step in enumerate(steps)
    ]  # fmt: skip


def _golden_inputs(bundle: Bundle, graph: str) -> Inputs:
    entry, golden = bundle.manifest.graphs[graph], bundle.manifest.golden[graph]
    stored: Inputs = {name: packed.unpack() for name, packed in golden.inputs.items()}
    if graph == "full":
        shape = tuple(int(size) for size in entry.inputs["activations"].shape[1:])
        stored["activations"] = probe(shape, len(golden.score.unpack()))
    return {name: x.reshape(-1, 1) if x.ndim == 1 else x for name, x in stored.items()}


def _compare(client: Client, bundle: Bundle, graph: str, answer: Mapping[str, NDArray[Any]], rows: slice) -> float:
    """The largest difference as a share of the tolerance; 0 where the tolerance is 0.

    `answer` gives `score` and `valid` of N golden rows, [N] or [N, 1]; `rows` says which rows those are.
    """
    golden = bundle.manifest.golden[graph]
    expected, tolerance, valid = (x.unpack()[rows] for x in (golden.score, golden.tolerance, golden.valid))
    score, answered = answer["score"].ravel(), answer["valid"].ravel()
    gap = np.abs(score.astype(np.float64) - expected)
    good = (gap <= tolerance) & (answered == valid)
    if not good.all():
        row = int(np.argmin(good))
        raise BundleError(
            f"{client.url}: graph {graph}, golden row {row} of {len(good)}: score {score[row]:g}, valid "
            f"{bool(answered[row])}; must be {expected[row]:g} (within {tolerance[row]:g}), {bool(valid[row])}. "
            "This server computes something else: do not use it, and look which onnxruntime it has."
        )
    return float((gap[valid] / tolerance[valid]).max(initial=0)) if (tolerance[valid] > 0).all() else 0.0
