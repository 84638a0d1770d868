"""Which model a direction belongs to: facts that must be the same, and facts that are named when they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sri_sdk.capture.identity import MODEL_FACTS, model_circumstances, model_facts
from sri_sdk.errors import ModelMismatch
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction


def identity(hook: Hook, system_prompt: str | None) -> dict[str, Any]:
    """What the provenance of a direction says of its model, as JSON types.

    Args:
        hook: the model family, with its live model.
        system_prompt: stood before every prompt; only a digest is kept.
    """
    return {
        "hard": {**model_facts(hook), "blocks": len(hook.layers())},
        "soft": model_circumstances(hook, system_prompt),
    }


def check_model(direction: Direction, hook: Hook, system_prompt: str | None = None) -> tuple[str, ...]:
    """Whether a direction was made with this model.

    Args:
        direction: what is to be used.
        hook: the model family, with its live model.
        system_prompt: will stand before every prompt.

    Returns:
        Soft facts that differ, such as `dtype` or `adapter`: the direction may fit less well.

    Raises:
        ModelMismatch: it was made with another model, or does not say with which.
    """
    subject = f"direction {direction.name!r}"
    made = direction.provenance.get("model")
    hard, soft = (made.get("hard"), made.get("soft")) if isinstance(made, Mapping) else (None, None)
    if not isinstance(hard, Mapping) or not isinstance(soft, Mapping):
        raise ModelMismatch(
            f"{subject}: its provenance does not say which model it was made with. Extract it again with `sri steer "
            "extract`."
        )
    live = identity(hook, system_prompt)
    for name in (*MODEL_FACTS, "blocks"):
        if hard.get(name) != live["hard"][name]:
            raise ModelMismatch(
                f"{subject}: {name} is {_short(live['hard'][name])} here, and was {_short(hard.get(name))} where the "
                "direction was made. Directions do not carry over to another model: extract one for this model with "
                "`sri steer extract`."
            )
    width, blocks = direction.vectors.shape[1], direction.means.shape[1]
    if (width, blocks) != (live["hard"]["hidden_size"], live["hard"]["blocks"]):
        raise ModelMismatch(
            f"{subject}: has vectors of width {width} for {blocks} blocks; the model has width "
            f"{live['hard']['hidden_size']} and {live['hard']['blocks']} blocks. The file was put together from parts."
        )
    return tuple(name for name, value in live["soft"].items() if soft.get(name) != value)


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if isinstance(value, str) and len(text) == 64 else text[:60]
