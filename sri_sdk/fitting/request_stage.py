"""The stage of a fit that makes the request map: lets the model read the prompts of its fold, and keeps the map alone.

States are never written: an interrupted stage begins anew, which costs one pass per batch of prompts. What is finished
is kept, as weight and bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.capture.drive import drive
from sri_sdk.capture.start import has_room
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.fitting.around import shortened
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.request import METHOD, fit_request_map, request_states
from sri_sdk.fitting.shrinkage import FALSE_ALARMS
from sri_sdk.fitting.store import Store
from sri_sdk.fitting.tally import log
from sri_sdk.metrics.auroc import auroc
from sri_sdk.records import Prompt, RequestStates
from sri_sdk.request_map import RequestMap

STAGE = "request"
LARGEST = 2**34
"""Bytes of states that a fit of the map holds at most."""


def collect_request_map(collector: Collector, prompts: Sequence[Prompt]) -> RequestMap:
    """The map of a fold, from an interrupted fit or made now.

    Args:
        collector: with the model, and the layers to read in its settings.
        prompts: with labels; see `fit_request_map`.

    Raises:
        CaptureError: a request could not be located or was not seen whole.
        ConfigError: the states would not fit into memory, or a class has too few prompts.
    """
    # Only here is the tokenizer known, and with it how long a started response is.
    prompts = [
        shortened(p, lambda text: has_room(text, collector.hook, collector.loaded.tokenizer, collector.sampler))
        for p in prompts
    ]
    store = Store(collector.cache, STAGE, map_key(collector, prompts))
    with store.alone("map"):
        return _found_or_fitted(collector, prompts, store)


def _found_or_fitted(collector: Collector, prompts: Sequence[Prompt], store: Store) -> RequestMap:
    if (saved := store.load("map")) is not None:
        arrays, notes = saved
        return RequestMap(arrays["weight"], arrays["bias"].item(), notes["provenance"])
    shape = len(prompts), len(collector.settings.request_layers), collector.hook.hidden_size()
    if (size := 4 * int(np.prod(shape, dtype=np.int64))) > LARGEST:
        raise ConfigError(
            f"request: states of {shape[0]} prompts, {shape[1]} layers and width {shape[2]} take {size / 2**30:.1f} "
            f"GiB of memory; allowed: {LARGEST / 2**30:g}. Lower the counts under folds.request, or name fewer layers "
            "under request.layers."
        )
    collector.progress(STAGE, 0, len(prompts))
    states = request_states(
        prompts, lambda batch: read(collector, batch), batch_size=collector.batch_size,
        progress=lambda done: collector.progress(STAGE, done, len(prompts)),
    )  # fmt: skip
    fitted = fit_request_map(states, prompts, seed=collector.seed)
    provenance = {
        **_counts(prompts),
        "prompts_digest": collector.key(prompts)["prompts"],
        "held_out": held_out_quality(fitted.held_out, prompts),
        "shrinkage": fitted.shrinkage.value,
        "left_out": dict(fitted.shrinkage.left_out),
    }
    made = replace(fitted.map, provenance=provenance)
    store.save("map", {"weight": made.weight, "bias": np.array(made.bias)}, {"provenance": provenance})
    log.info("request: %s", words(provenance))
    return made


def read(collector: Collector, prompts: Sequence[Prompt]) -> RequestStates:
    """Lets the model read a batch: a generation that ends as soon as every request was seen.

    Raises:
        CaptureError: a hook failed over it.
    """
    settings = replace(collector.settings, anchors=None, scorer=None, grid=None, budget=None, fixed=False)
    batch = drive(
        collector.hook, collector.loaded, collector.sampler, prompts, settings, seed=collector.seed,
        system_prompt=collector.system_prompt,
    )  # fmt: skip
    steps = iter(batch)
    for _ in steps:
        if batch.run.request_read:
            break
    steps.close()
    if batch.run.request is None:
        raise CaptureError(
            f"prompt {prompts[0].id!r}: its batch was not read ({batch.run.failure or 'the tap never fired'}). Check "
            "the hook's `prompt_columns` with `sri check hook NAME`."
        )
    return batch.run.request


def held_out_quality(held_out: NDArray[np.float32], prompts: Sequence[Prompt]) -> dict[str, Any]:
    """How well the map tells prompts apart that it had not seen, [N] log-odds, as JSON types.

    `all` is over every prompt; `plain` and each wrapper are within prompts of that kind, where both labels are there.
    """
    kinds = [p.attack or "plain" for p in prompts]
    found = {"all": _area(held_out, prompts, [True] * len(prompts))}
    for kind in dict.fromkeys(kinds):
        found[kind] = _area(held_out, prompts, [each == kind for each in kinds])
    return {kind: area for kind, area in found.items() if area is not None}


def words(provenance: Mapping[str, Any]) -> str:
    """The quality of a map in one line."""
    parts = [
        f"{kind} {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}; n = {area['positives']} + "
        f"{area['negatives']})"
        for kind, area in provenance.get("held_out", {}).items()
    ]
    said = "AUROC on held-out prompts, harmful + harmless: " + ("; ".join(parts) or "not measured")
    left_out = [f"{kind} {100 * share:.0f} %" for kind, share in provenance.get("left_out", {}).items()]
    if left_out:
        said += (
            f". Harmful prompts in a wrapper that was left out, found above {100 * (1 - FALSE_ALARMS):g} % of the "
            f"harmless ones: {', '.join(left_out)}"
        )
    return said


def _area(odds: NDArray[np.float32], prompts: Sequence[Prompt], of: Sequence[bool]) -> dict[str, Any] | None:
    """Of the prompts in `of` ([N] odds): AUROC, its 95 % interval and both counts; None where a label is missing."""
    sides: dict[str, tuple[list[float], list[str]]] = {"harmful": ([], []), "harmless": ([], [])}
    for number, prompt, wanted in zip(odds.tolist(), prompts, of, strict=True):
        if wanted:
            scores, bases = sides[prompt.label]
            scores.append(-number)
            bases.append(prompt.base or prompt.id)
    (above, whose), (below, others) = sides["harmful"], sides["harmless"]
    found = auroc(np.array(above), np.array(below), (whose, others))
    return None if found is None else found.to_dict()


def _counts(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Prompts per wrapper and label."""
    counts: dict[str, dict[str, int]] = {}
    for prompt in prompts:
        of_kind = counts.setdefault(prompt.attack or "plain", {})
        of_kind[prompt.label] = of_kind.get(prompt.label, 0) + 1
    return {"prompts": counts}


def map_key(collector: Collector, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What a map, and what it says of prompts, depends on: everything that a generation depends on, without the judge,
    who is not asked."""  # fmt: skip
    key = {name: value for name, value in collector.key(prompts).items() if name != "judge"}
    return {**key, "method": METHOD, "wrappers": [[p.attack or "", p.base or ""] for p in prompts]}
