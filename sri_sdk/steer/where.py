"""Where a steering acts: blocks and their parts, steps, blocks of the response, kinds of positions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.hook import Hook
from sri_sdk.records import PADDING

if TYPE_CHECKING:
    import torch

    from sri_sdk.steer.passes import SeenPass

Site = Literal["embedding", "attention", "mlp", "block"]
"""What puts the states out: the token embedding, what attention or MLP add to the residual stream, or a whole block."""
Positions = Literal["prompt", "response", "masked", "committed"]
"""Kinds of positions; masked and committed ones make up the response."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which states a steering changes. What is None restricts nothing; the default is the whole residual stream.

    `steps`, `blocks` and `positions` make the steering ask the hook what each pass is. A pass that is no step (it
    stores a prompt, or reads finished text) stays unsteered under `steps`, and under the other two where the hook does
    not place its rows. The half of classifier-free guidance that has no prompt belongs to no request: it is steered
    only where nothing but layers and sites is restricted.
    """

    layers: tuple[int, ...] | None = None
    """Numbers of blocks, as in `Hook.layers()`; None = all. The embedding has no number."""
    sites: tuple[Site, ...] = ("block",)
    """Where in a block. `block` = the residual stream, as each block puts it out."""
    steps: tuple[float, float | None] | None = None
    """(start, stop): from step `start` on, up to `stop` and without it; None as stop = to the end. Whole numbers count
    steps from 0; where one of the two is a float, both are shares of the budget, and `(0.0, 0.25)` is the first
    quarter."""
    blocks: tuple[int, int | None] | None = None
    """(start, stop): response positions in these blocks, counted from the first response position. A family that
    counts its own blocks from the first prompt token has its bounds elsewhere."""
    block_length: int | None = None
    """Tokens per block, for `blocks`; None = the hook's own `block_length()`."""
    positions: tuple[Positions, ...] | None = None
    """Kinds of positions; None = all, padding included. Padding that a hook does not tell from the prompt counts as
    prompt; nobody reads its states."""

    def __post_init__(self) -> None:
        """Checks what can be known without a model.

        Raises:
            ConfigError: a name is unknown, or a range is empty.
        """
        for field, allowed in (("sites", get_args(Site)), ("positions", get_args(Positions))):
            if (given := getattr(self, field)) is not None or field == "sites":
                object.__setattr__(self, field, _names(field, given, allowed))
        if self.layers is not None:
            object.__setattr__(self, "layers", _numbers(self.layers))
        if self.steps is not None:
            object.__setattr__(self, "steps", _range("steps", self.steps, shares=True))
        if self.blocks is not None:
            object.__setattr__(self, "blocks", _range("blocks", self.blocks))
        if self.block_length is not None:
            if not _is_whole(self.block_length) or self.block_length < 1:
                raise ConfigError(f"where.block_length: {self.block_length!r}; a whole number above 0 is needed.")
            object.__setattr__(self, "block_length", int(self.block_length))

    @property
    def asks_passes(self) -> bool:
        """Whether it must be known of each pass what its rows are."""
        return self.steps is not None or self.asks_positions

    @property
    def asks_positions(self) -> bool:
        """Whether it must be known of each row where it stands."""
        return self.blocks is not None or self.positions is not None

    @property
    def by_share(self) -> bool:
        """Whether `steps` are shares of the budget."""
        return self.steps is not None and any(isinstance(end, float) for end in self.steps)

    def suits(self, hook: Hook, budget: int | None = None) -> None:
        """Whether this can be asked of a family.

        Raises:
            ConfigError: it cannot: a block it lacks, positions it cannot tell apart, shares of an unknown budget.
        """
        family, count = type(hook).__name__, len(hook.layers())
        if strange := [layer for layer in self.layers or () if layer >= count]:
            raise ConfigError(f"where.layers: {strange[0]}; {family} has blocks 0 to {count - 1}.")
        if self.by_share and budget is None:
            raise ConfigError(
                f"where.steps: {self.steps} are shares of the budget, which is not known. Pass budget=, the number of "
                "steps of a generation, or give whole numbers."
            )
        if self.blocks is not None and self.block_length is None and hook.block_length() is None:
            raise ConfigError(f"where.blocks: {family} has no blocks of its own. Set block_length as well.")
        if asked := {"masked", "committed"} & {*(self.positions or ())}:
            if hook.scheme == "autoregressive" and "masked" in asked:
                raise ConfigError(f"where.positions: masked; {family} is autoregressive and has none. Leave it out.")
            if hook.scheme != "autoregressive" and "committed" not in hook.capabilities:
                raise ConfigError(
                    f"where.positions: {', '.join(sorted(asked))}; {family} cannot tell which positions are committed. "
                    "Allowed: prompt, response."
                )

    def acts_in(self, step: int | None, budget: int | None) -> bool:
        """Whether a pass is within `steps`; `step` is counted from 0, None = the pass is no step."""
        if self.steps is None:
            return True
        if step is None:
            return False
        at = step / budget if self.by_share and budget else step
        return self.steps[0] <= at and (self.steps[1] is None or at < self.steps[1])

    def rows(self, seen: SeenPass, own_block: int | None = None) -> torch.Tensor | None:
        """Which rows of a pass are meant.

        Args:
            seen: what is known of the pass.
            own_block: tokens per block of the family, where `block_length` does not say it.

        Returns:
            [B, L] bool tensor; None = where its rows stand is not known, so none are meant.
        """
        if seen.places is None or (seen.fixed is None and {"masked", "committed"} & {*(self.positions or ())}):
            return None
        places = seen.places
        meant = places != PADDING
        response = meant & (places >= 0)
        if self.positions is not None:
            meant = meant & (places < 0) if "prompt" in self.positions else meant.new_zeros(meant.shape)
            if "response" in self.positions:
                meant = meant | response
            elif seen.fixed is not None:
                meant = meant | response & seen.fixed if "committed" in self.positions else meant
                meant = meant | response & ~seen.fixed if "masked" in self.positions else meant
        if self.blocks is not None:
            block = self.block_length or own_block
            assert block is not None, "suits() said so"
            number = places.clamp(min=0) // block
            stop = self.blocks[1]
            within = (number >= self.blocks[0]) if stop is None else (number >= self.blocks[0]) & (number < stop)
            meant = meant & response & within
        return meant


def _names(field: str, given: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if strange := [name for name in found if name not in allowed]:
        raise ConfigError(
            f"where.{field}: {strange[0]!r}; allowed: {', '.join(allowed)}.{did_you_mean(str(strange[0]), allowed)}"
        )
    if not found:
        raise ConfigError(f"where.{field}: nothing, so nothing would be steered. Name some of {', '.join(allowed)}.")
    return tuple(dict.fromkeys(found))


def _numbers(given: Any) -> tuple[int, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not found or not all(_is_whole(number) and number >= 0 for number in found):
        raise ConfigError(f"where.layers: {given!r}; numbers of blocks are needed, 0 the first. None = all of them.")
    return tuple(sorted({int(number) for number in found}))


def _range(field: str, given: Any, *, shares: bool = False) -> tuple[Any, Any]:
    """(start, stop) that is not empty."""
    kind = "whole numbers or shares" if shares else "whole numbers"
    found = tuple(map(_plain, given)) if isinstance(given, tuple | list) else (given,)
    ends = [end for end in found if end is not None]
    right = all(_is_whole(end) or (shares and isinstance(end, float) and math.isfinite(end)) for end in ends)
    if (
        len(found) != 2
        or not right
        or found[0] is None
        or found[0] < 0
        or (found[1] is not None and found[1] <= found[0])
    ):
        raise ConfigError(
            f"where.{field}: {given!r}; (start, stop) is needed, {kind} from 0 on, stop above start or None."
        )
    if any(isinstance(end, float) for end in ends) and max(ends) > 1:
        raise ConfigError(f"where.{field}: {given!r}; shares of the budget are at most 1.0. Steps are whole numbers.")
    return found[0], found[1]


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A number of numpy as Python's; everything else as it is."""
    if _is_whole(value):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value
