"""What is wrong with the section `steer`, beyond its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sri_sdk import registry
from sri_sdk.errors import SriError, did_you_mean
from sri_sdk.plugin import Plugin

_PLACE = re.compile(r"pre-[1-9][0-9]*|post\+(0|[1-9][0-9]*)")


def check_steer(steer: Any, hook: Any, prompts: Any, dataset: type[Plugin] | None) -> Iterator[str]:
    """Whether the family can be steered this way, and the names of splits and places can be such."""
    if steer is None:
        return
    if hook is not None and hook.scheme == "canvas":
        yield (
            f"steer: {hook.__name__} reads prompts in a part of its own, and directions are read from the blocks that "
            "answer; leave the section out"
        )
    for place in steer.places or ():
        if not _PLACE.fullmatch(place):
            yield f"steer.places: found {place!r}, allowed: pre-1, pre-2 ... and post+0, post+1 ..."
    if prompts is None or dataset is None:
        return
    try:
        splits = list(registry.build("datasets", prompts.dataset, prompts.options).splits())
    except SriError:
        # Reported under its own path.
        return
    for path, split in (("steer.split", steer.split), ("steer.validation.split", steer.validation.split)):
        if split is not None and split not in splits:
            known = ", ".join(splits) or "none"
            yield (
                f"{path}: unknown split {split!r}; dataset {prompts.dataset!r} has: {known}."
                f"{did_you_mean(split, splits)}"
            )
