"""What the rounds of both sides say, as the numbers that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paired import Spread
from sri_sdk.signal import EPS, TAU

Arrays = Mapping[str, NDArray[Any]]
Round = Mapping[str, Arrays]
"""Way -> what `reference_side` wrote."""
OURS = ("alone", "batch")
WAYS = ("reference", *OURS)
CASES = {"generations": "sigma", "anchors": "sigma_of_anchors", "only": "sigma_alone"}
"""What is measured against anchors -> its signals: usual generations, the anchors themselves, and generations that are
each the only one of their class."""


def numbers(rounds: Sequence[Round]) -> dict[str, Any]:
    """Everything that is kept of a run but its circumstances."""
    agreed = [each for each in rounds if all(_same(each, way, "refused") for way in OURS)]
    return {
        "outcomes": _outcomes(rounds, agreed),
        "tokens": {way: _tokens(rounds, way) for way in OURS},
        "cost": {way: _cost(rounds, way) for way in WAYS},
        "ratios": {way: _ratios(rounds, way) for way in OURS},
        "states": {way: _gap(_alike(each, way) for each in rounds) for way in OURS},
        "anchors": {way: _gap((each["reference"]["anchors"], each[way]["anchors"]) for each in agreed) for way in OURS},
        "signals": {way: _signals(agreed, way) for way in OURS},
        "errors": {way: _errors(rounds, way) for way in WAYS},
        "nan": {case: {way: _nan(rounds, way, name) for way in WAYS} for case, name in CASES.items()},
    }


def exact(phi: NDArray[Any], anchors: NDArray[Any]) -> NDArray[np.float64]:
    """[N, T, D] states and [2, T, D] anchors -> [N, T] sigma in float64, as section 3.1 of the paper has it."""
    states, (harmless, harmful) = _unit(phi), _unit(anchors)
    towards = [0.5 * ((states - anchor) ** 2).sum(-1) for anchor in (harmful, harmless)]
    logit = (np.log(towards[0] + EPS) - np.log(towards[1] + EPS)) / TAU
    with np.errstate(over="ignore"):
        sigma: NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return sigma


def _unit(states: NDArray[Any]) -> NDArray[np.float64]:
    wide = states.astype(np.float64)
    scaled: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return scaled


def _rows_alike(each: Round, way: str, name: str) -> NDArray[np.bool_]:
    """[N] of a padded array: whether a row is the same on both sides."""
    theirs, ours = each["reference"][name], each[way][name]
    width = max(theirs.shape[1], ours.shape[1])
    padded = [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=-1) for a in (theirs, ours)]
    same: NDArray[np.bool_] = (padded[0] == padded[1]).all(axis=1)
    return same


def _same(each: Round, way: str, name: str) -> bool:
    return bool((each["reference"][name] == each[way][name]).all())


def _alike(each: Round, way: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """States of both sides, of generations with the same tokens; others have no reason to agree."""
    rows = _rows_alike(each, way, "tokens")
    return each["reference"]["phi"][rows], each[way]["phi"][rows]


def _outcomes(rounds: Sequence[Round], agreed: Sequence[Round]) -> dict[str, int]:
    refused = np.concatenate([each["reference"]["refused"].reshape(2, -1) for each in rounds], axis=1)
    others = [(each["reference"]["refused"] != each[way]["refused"]).sum() for each in rounds for way in OURS]
    return {
        "prompts_of_a_class": refused.shape[1], "answered_harmless": int((~refused[0]).sum()),
        "refused_harmful": int(refused[1].sum()), "judged_differently": int(sum(others)),
        "rounds_judged_alike": len(agreed),
    }  # fmt: skip


def _tokens(rounds: Sequence[Round], way: str) -> dict[str, int]:
    same = {name: np.concatenate([_rows_alike(each, way, name) for each in rounds]) for name in ("encoded", "tokens")}
    steps = rounds[0]["reference"]["phi"].shape[1]
    shorter = [((each["reference"]["tokens"] >= 0).sum(axis=1) < steps).sum() for each in rounds]
    return {
        "generations": len(same["tokens"]), "prompts_different": int((~same["encoded"]).sum()),
        "responses_different": int((~same["tokens"]).sum()), "ended_early": int(sum(shorter)),
    }  # fmt: skip


def _spread(values: Iterable[float]) -> dict[str, Any]:
    found = asdict(Spread.of(np.array(list(values), dtype=np.float64)))
    return {key: _short(value) for key, value in found.items()}


def _short(value: float) -> float:
    """Four digits: the last ones of a measurement are noise."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _cost(rounds: Sequence[Round], way: str) -> dict[str, Any]:
    seconds = (each[way]["cost"][0] / len(each[way]["refused"]) for each in rounds)
    return {
        "cpu_seconds_per_generation": _spread(seconds),
        "peak_mib": _spread(each[way]["cost"][1] / 2**20 for each in rounds),
    }


def _ratios(rounds: Sequence[Round], way: str) -> dict[str, Any]:
    """The reference's cost over ours, round by round."""
    of = {"cpu": 0, "peak": 1}
    return {
        name: _spread(each["reference"]["cost"][at] / each[way]["cost"][at] for each in rounds)
        for name, at in of.items()
    }


def _gap(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> dict[str, Any]:
    """Largest differences of states [..., D]: of one number, and of a vector as a share of its length."""
    number, share, states = 0.0, 0.0, 0
    for theirs, ours in pairs:
        wide = theirs.astype(np.float64)
        gaps = ours - wide
        states += int(np.prod(gaps.shape[:-1]))
        number = max(number, float(np.abs(gaps).max(initial=0)))
        lengths = np.linalg.norm(gaps, axis=-1) / np.linalg.norm(wide, axis=-1)
        share = max(share, float(lengths.max(initial=0)))
    return {"largest": _short(number), "largest_share": _short(share), "states": states}


def _signals(rounds: Sequence[Round], way: str) -> dict[str, Any]:
    """Largest difference of sigma, of all generations that have one on both sides."""
    largest, values, between = 0.0, 0, 0
    for each in rounds:
        rows = _rows_alike(each, way, "tokens")
        theirs, ours = each["reference"]["sigma"][rows], each[way]["sigma"][rows]
        both = np.isfinite(theirs) & np.isfinite(ours)
        largest = max(largest, float(np.abs(theirs[both].astype(np.float64) - ours[both]).max(initial=0)))
        values += int(both.sum())
        between += int(((ours > 0.01) & (ours < 0.99) & both).sum())
    return {"largest": _short(largest), "values": values, "between": between}


def _errors(rounds: Sequence[Round], way: str) -> dict[str, Any]:
    """Largest error of sigma against float64 from the very states and anchors of that side."""
    largest, nearest = 0.0, np.inf
    for each in rounds:
        arrays = each[way]
        gaps = np.abs(arrays["sigma"] - exact(arrays["phi"], arrays["anchors"]))
        largest = max(largest, float(np.nanmax(gaps)))
        distances = [0.5 * ((_unit(arrays["phi"]) - anchor) ** 2).sum(-1) for anchor in _unit(arrays["anchors"])]
        nearest = min(nearest, *(float(distance.min()) for distance in distances))
    return {"largest": _short(largest), "nearest_distance": _short(nearest)}


def _nan(rounds: Sequence[Round], way: str, name: str) -> dict[str, int]:
    """Steps without a signal."""
    counts = np.concatenate([np.isnan(each[way][name]).sum(axis=1) for each in rounds])
    steps = rounds[0][way][name].shape[1]
    return {
        "signals": len(counts), "steps": len(counts) * steps, "nan": int(counts.sum()),
        "fewest": int(counts.min()), "most": int(counts.max()),
    }  # fmt: skip
