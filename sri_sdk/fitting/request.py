"""Fits the request map: from prompts whose harm is known to one affine map over the tapped layers.

No judge is asked and nothing is generated: what counts is what the request is, whatever the model makes of it. States
stay in memory, and are written nowhere.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import CaptureError
from sri_sdk.fitting.by_length import SHORT_IN_FITS, longest_first
from sri_sdk.fitting.sample_space import Gram, combine_layer, discriminant, held_out_scores, log_odds_scale
from sri_sdk.fitting.shrinkage import Shrinkage, choose_shrinkage
from sri_sdk.records import Prompt, RequestStates
from sri_sdk.request_map import LARGEST, RequestMap

METHOD = 3
"""Version of what this file does to states; maps that an earlier one left in a cache are fitted again."""
NUISANCE = 1.0
MOST = 15.0
"""Log-odds, in size, that the held-out prompts of a fit get at most; room is left for clearer ones."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedRequest:
    """A request map, and what it is worth on prompts it had not seen."""

    map: RequestMap
    held_out: NDArray[np.float32]
    """[N] log-odds of the fit's own prompts, each by a map that was fitted without it and its variants."""
    shrinkage: Shrinkage


def request_states(
    prompts: Sequence[Prompt], read: Callable[[Sequence[Prompt]], RequestStates], *, batch_size: int,
    progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:  # fmt: skip
    """The mean states of requests, [N, C, D] float32.

    Args:
        prompts: N of them.
        read: lets the model read a batch.
        batch_size: prompts per batch.
        progress: called with the number of prompts done.

    Raises:
        CaptureError: a request could not be located or was not seen whole.
    """
    order, states = longest_first(prompts, SHORT_IN_FITS), None
    for start in range(0, len(prompts), batch_size):
        rows = order[start : start + batch_size]
        batch = [prompts[at] for at in rows]
        found = read(batch)
        for row, prompt in enumerate(batch):
            if not found.complete[row]:
                what = "was not seen whole" if found.located[row] else "could not be located among the prompt's tokens"
                raise CaptureError(
                    f"prompt {prompt.id!r}: its request {what}. Leave the prompt out if it is empty; otherwise check "
                    "the chat template and the hook's `prompt_columns` with `sri check hook NAME`."
                )
        if states is None:
            states = np.empty((len(prompts), *found.states.shape[1:]), dtype=np.float32)
        states[rows] = found.states
        progress(start + len(batch))
    return np.empty((0, 0, 0), dtype=np.float32) if states is None else states


def fit_request_map(
    states: NDArray[np.float32], prompts: Sequence[Prompt], *, shrinkage: float | None = None,
    nuisance: float = NUISANCE, seed: int = 0,
) -> FittedRequest:  # fmt: skip
    """Fits the map on N prompts.

    Args:
        states: [N, C, D] float32, as `request_states` gives them.
        prompts: N of them, with labels. Prompts of one base are held out together; what `attack` names is the wrapper a
            prompt is in, and how harmless prompts differ from wrapper to wrapper should not count as harm.
        shrinkage: see `sri_sdk.fitting.sample_space.discriminant`; None = see `sri_sdk.fitting.shrinkage`.
        nuisance: see there.
        seed: of the held-out folds.

    Raises:
        ConfigError: a class has fewer than two prompts, or all their states are equal.
    """
    harmful = np.array([p.label == "harmful" for p in prompts])
    groups = _numbered([p.attack or "" for p in prompts])
    bases = _numbered([p.base or p.id for p in prompts])
    gram = functools.reduce(operator.add, (Gram.of_layer(states[:, layer]) for layer in range(states.shape[1])))
    chosen = Shrinkage(shrinkage, {}) if shrinkage is not None else choose_shrinkage(
        gram, harmful, [p.attack or "" for p in prompts], bases, nuisance=nuisance, seed=seed
    )  # fmt: skip
    found = discriminant(gram, harmful, shrinkage=chosen.value, groups=groups, nuisance=nuisance)
    held = held_out_scores(
        gram, harmful, bases, shrinkage=chosen.value, groups=groups, nuisance=nuisance, seed=seed
    )  # fmt: skip
    slope, offset = log_odds_scale(held, harmful, most=MOST)
    parts = [combine_layer(states[:, layer], found.coefficients) for layer in range(states.shape[1])]
    weight = np.stack([weight for weight, _ in parts]) * slope
    bias = (found.bias + sum(bias for _, bias in parts)) * slope + offset
    return FittedRequest(
        RequestMap(weight.astype(np.float32), float(bias)),
        np.clip(held * slope + offset, -LARGEST, LARGEST).astype(np.float32),
        chosen,
    )


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """N names -> [N] int64: equal names, equal numbers, in the order in which they first occur."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)
