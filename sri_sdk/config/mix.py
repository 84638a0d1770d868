"""What traffic a fold of harmless prompts stands for: shares of plain, wrapped and unusual requests."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from sri_sdk.plugin import Config

PLAIN = "plain"
"""Name of the one plain kind."""
NEAR = 1e-9
"""How far a sum of shares may be from 1: decimal fractions do not add up exactly."""

Share = Annotated[float, Field(gt=0, le=1)]


class MixKind(NamedTuple):
    """One kind of request in a mix."""

    kind: Literal["plain", "wrapped", "unusual"]
    name: str
    """`plain`, the attack that wraps it, or the other split that it comes from; unique within a mix."""
    share: float
    """Of all requests, in (0, 1]."""

    @property
    def path(self) -> str:
        """Where a mix says it, for messages."""
        return self.kind if self.kind == "plain" else f"{self.kind}.{self.name}"


class MixSection(Config):
    """The traffic that the prompts of a fold stand for. Each prompt's kind is drawn at random with these shares.

    Every prompt is made of a request of its own: no request is used twice, in whatever wrapper, so the number of
    prompts counts requests.
    """

    plain: Share | None = Field(default=None, description="Share of plain requests; null = what the others leave.")
    wrapped: dict[str, Share] = Field(
        default={}, description="Attack transform of the dataset -> share of harmless requests in its wrapper."
    )
    unusual: dict[str, Share] = Field(
        default={}, description="Another split of the dataset -> share of its plain harmless requests."
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        others = sum([*self.wrapped.values(), *self.unusual.values()])
        whole = others + (self.plain or 0)
        if not whole:
            raise ValueError("names no kind of requests; allowed: plain, wrapped, unusual. Name some, or leave mix out")
        if whole > 1 + NEAR or (self.plain is not None and whole < 1 - NEAR):
            left = " with plain left out, at most 1" if self.plain is None else ""
            raise ValueError(f"the shares sum to {whole:.10g}; they must sum to 1{left and ',' + left}")
        names = [PLAIN, *self.wrapped, *self.unusual]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"{', '.join(map(repr, twice))} names two kinds of requests; rename the attack or the split, so that "
                "results can tell them apart"
            )
        return self

    def kinds(self) -> tuple[MixKind, ...]:
        """The kinds of requests with their shares, plain ones first; what has no share is left out."""
        wrapped = [MixKind("wrapped", name, share) for name, share in self.wrapped.items()]
        unusual = [MixKind("unusual", name, share) for name, share in self.unusual.items()]
        rest = 1 - sum(each.share for each in (*wrapped, *unusual))
        plain = self.plain if self.plain is not None else rest if rest > NEAR else None
        return (*(() if plain is None else (MixKind("plain", PLAIN, plain),)), *wrapped, *unusual)
