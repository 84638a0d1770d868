"""Which observations leave the machine, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

import sri_sdk
from sri_sdk.records import Status
from sri_sdk.strict_json import JsonError, write

Kind = Literal["traffic", "canary", "shadow"]


class Chosen(sri_sdk.Config):
    """Options of sinks that send whole observations."""

    statuses: tuple[Status, ...] = Field(
        default=("clear", "flagged", "unmonitored", "not_sampled"), min_length=1,
        description="Verdicts that are sent, by status; others count as delivered.",
    )  # fmt: skip
    kinds: tuple[Kind, ...] = Field(
        default=("traffic", "canary", "shadow"), min_length=1,
        description="Observations that are sent, by kind; others count as delivered.",
    )  # fmt: skip
    texts: bool = Field(
        default=False, description="Send prompts, responses and drafts too, of a monitor whose store_texts is true."
    )
    trajectories: bool = Field(default=True, description="Send the signal of each generation too, where it is kept.")


def written(observations: Sequence[sri_sdk.Observation], config: Chosen) -> tuple[dict[str, str], set[str]]:
    """What is sent.

    Returns:
        id -> observation as JSON, in their order; and ids of those that no reader of JSON would take, such as a
        request id with half a character.
    """
    texts, unwritable = {}, set()
    for each in observations:
        if each.verdict.status not in config.statuses or each.kind not in config.kinds:
            continue
        sent = each if config.texts else replace(each, prompt=None, response=None, drafts=())
        sent = sent if config.trajectories else replace(sent, trajectory=None)
        try:
            # ASCII: no reader needs to know an encoding, and separators of lines stay inside their strings.
            texts[each.id] = write(sent.to_dict(), separators=(",", ":"))
        except (JsonError, TypeError, ValueError):
            unwritable.add(each.id)
    return texts, unwritable
