"""How a canvas is sampled: the options that the sampler offers and its loop goes by."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

import sri_sdk


class Profile(sri_sdk.Config):
    """The generation profile; the defaults are those of transformers."""

    canvases: int = Field(1, ge=1, description="Most canvases; a response ends earlier with its end token.")
    canvas_length: int = Field(256, ge=1, description="Tokens of a canvas; must be the model's.")
    steps: int = Field(48, ge=1, description="Most denoising steps of a canvas.")
    entropy_bound: float = Field(0.1, gt=0, description="How much doubt, in nats, may be accepted in one step.")
    t_min: float = Field(0.4, ge=0, description="Temperature of the last step.")
    t_max: float = Field(0.8, gt=0, description="Temperature of the first step.")
    stability_threshold: int = Field(
        1, ge=0, description="Steps the best guess must stay the same before a canvas is left."
    )
    confidence_threshold: float = Field(
        0.005, gt=0, description="Mean doubt per token, in nats, below which a stable canvas is left."
    )

    @model_validator(mode="after")
    def _cools(self) -> Self:
        if self.t_max <= self.t_min:
            raise ValueError(f"t_max {self.t_max} must be above t_min {self.t_min}: the temperature falls")
        return self
