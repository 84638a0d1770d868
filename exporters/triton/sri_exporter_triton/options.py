"""What a user may choose about a model repository."""

from __future__ import annotations

from pydantic import Field

import sri_sdk


class Options(sri_sdk.Config):
    """Options of a model repository."""

    name: str = Field(
        "sri",
        pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Beginning of the models' names, unique among the guards of one server: <name>_signal, "
        "<name>_prefix, <name>_full_sensitive, <name>_step_sensitive.",
    )
    full: bool = Field(
        False,
        description="Add the model that takes activations. It holds the anchors, whose difference is close to the "
        "model's refusal direction: treat such a repository as a secret.",
    )
    step: bool = Field(
        False,
        description="Add the model that takes one hidden state per step; Triton keeps the signal of each sequence. It "
        "holds the anchors too: a secret, as `full` is.",
    )
    max_batch: int = Field(
        1024, ge=1, le=65536, description="Most generations per call, in one request or joined by the server."
    )
    instances: int = Field(1, ge=1, le=256, description="Copies of each model that run at the same time, on the CPU.")
    queue_delay_us: int = Field(
        200, ge=0, le=10**6, description="Microseconds a request may wait for others to share a call with."
    )
    sequences: int = Field(
        1024, ge=1, le=10**6,
        description="Model `step`: running generations per instance; others wait until one of these ends.",
    )  # fmt: skip
    idle_seconds: int = Field(
        600, ge=1, le=10**6,
        description="Model `step`: a generation without a step for this long is dropped, and its next step refused.",
    )  # fmt: skip
