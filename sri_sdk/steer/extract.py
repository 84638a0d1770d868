"""Directions by difference of means: what the states of two kinds of prompts differ by, at every block and place.

    v = normalise(mean of prompts with the attribute - mean of those without)        arXiv 2512.24143, section 3

One prompt-only pass per prompt reads all of it. Means are streamed: what is held of a pass are the states at the
places, of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.encoded import encode
from sri_sdk.capture.locate import unpadded
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import Prompt
from sri_sdk.steer.states import check_readable, states_at
from sri_sdk.steer.template import Places, shared_places

FEWEST = 4
"""Prompts of a kind, at least: two in each half, without which nobody can tell a difference from chance."""
CHANCE = 2.0
"""How many times longer than by chance a difference must be to count as one."""
ROUNDING = 4.0
"""How many units of rounding of the model's own dtype, relative to the states, a difference must exceed."""

Advance = Callable[[int, int], None]
"""Called with prompts read so far, and of how many."""


@dataclass(frozen=True, slots=True, eq=False)
class TemplateMeans:
    """Mean states of two kinds of prompts at the places of a template; axis 0 is without / with the attribute."""

    places: Places
    mean: NDArray[np.float64]
    """[2, B, P, D]: B blocks, P places."""
    halves: NDArray[np.float64]
    """[2, 2, B, P, D]: the same of every second prompt of each kind, the even ones first."""
    counts: tuple[int, int]
    """Prompts of each kind."""
    rounding: float
    """Unit of rounding of the model's dtype, relative."""

    @property
    def difference(self) -> NDArray[np.float64]:
        """[B, P, D], from the mean without the attribute to the one with it."""
        found: NDArray[np.float64] = self.mean[1] - self.mean[0]
        return found

    @property
    def length(self) -> NDArray[np.float64]:
        """[B, P]: length of the difference, in the unit of the model's states."""
        found: NDArray[np.float64] = np.linalg.norm(self.difference, axis=-1)
        return found

    @property
    def over_chance(self) -> NDArray[np.float64]:
        """[B, P]: length of the difference over what it would be if both kinds were one, from halves of each kind.

        About 1 = a difference by chance; 0 where the states of a kind do not differ at all beyond rounding.
        """
        # Halves have half the prompts each: the mean square of their difference is 4 / n of a state's variance, and
        # that of two kinds which are one is 1 / n of both.
        own = np.linalg.norm(self.halves[:, 0] - self.halves[:, 1], axis=-1)
        chance = np.sqrt((own**2).sum(axis=0) / 4)
        scale = np.linalg.norm(self.mean, axis=-1).max(axis=0)
        seen = self.length > ROUNDING * self.rounding * scale
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(seen, self.length / chance, 0.0)

    @property
    def found(self) -> NDArray[np.bool_]:
        """[B, P]: whether there is a difference at all."""
        return self.over_chance > CHANCE

    def place(self, name: str) -> int:
        """Number of a place among the P.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.places.names:
            raise ConfigError(f"place {name!r}: was not read; read were: {', '.join(self.places.names)}.")
        return self.places.names.index(name)

    def only(self, names: Sequence[str]) -> TemplateMeans:
        """The same at some of the places.

        Raises:
            ConfigError: one of them was not read.
        """
        at = sorted(self.place(name) for name in names)
        kept = self.places.only([self.places.names[each] for each in at])
        return replace(self, places=kept, mean=self.mean[:, :, at], halves=self.halves[:, :, :, at])

    def unit(self, block: int, place: str) -> NDArray[np.float32]:
        """[D] float32 of length 1: the direction of the difference.

        Raises:
            ConfigError: there is none.
        """
        at = self.place(place)
        if not self.found[block, at]:
            raise ConfigError(
                f"block {block}, {place}: the two kinds of prompts do not differ there by more than chance "
                f"({self.over_chance[block, at]:.2g} times; more than {CHANCE:g} are needed). Take another place, or "
                "more prompts. A causal model sees nothing of a request before it."
            )
        difference = self.difference[block, at]
        return _unit(difference)


def extract_means(
    hook: Hook, tokenizer: Any, without: Sequence[Prompt], having: Sequence[Prompt], *,
    system_prompt: str | None = None, places: Sequence[str] | None = None, batch_size: int = 32,
    advance: Advance | None = None,
) -> TemplateMeans:  # fmt: skip
    """Reads every prompt once.

    Args:
        hook: the model family.
        tokenizer: of the model.
        without: prompts without the attribute: harmless ones.
        having: prompts with it: harmful ones.
        system_prompt: stands before every prompt; None = none does.
        places: names of the template's tokens to read; None = all that the prompts share.
        batch_size: prompts per pass.
        advance: called after each pass.

    Raises:
        ConfigError: too few prompts, one of them in both kinds or with a started response; batches of nothing; or the
            model cannot be read.
        CaptureError: a state is not finite, or the hook shows something else than residual blocks.
    """
    if batch_size < 1:
        raise ConfigError(f"directions: batch_size {batch_size}; at least 1 prompt per pass is needed.")
    check_readable(hook)
    kinds = (tuple(without), tuple(having))
    check_kinds(*kinds)
    every = [*kinds[0], *kinds[1]]
    rows = [row for batch in _cut(every, batch_size) for row in unpadded(encode(hook, tokenizer, batch, system_prompt))]
    where = shared_places(hook, tokenizer, rows, system_prompt)
    if places is not None:
        where = where.only(places)
    sums: list[torch.Tensor] | None = None
    done = 0
    for kind, prompts in enumerate(kinds):
        for batch in _cut(prompts, batch_size):
            first = (done - (len(kinds[0]) if kind else 0)) % 2
            states = read_at(hook, tokenizer, batch, where, system_prompt)
            if sums is None:
                sums = [_zeros(each) for each in states]
            for total, each in zip(sums, states, strict=True):
                for half in (0, 1):
                    # Prompts with even numbers first, wherever a batch begins.
                    total[kind, half] += each[(half - first) % 2 :: 2].to(total.dtype).sum(0)
            done += len(batch)
            if advance is not None:
                advance(done, len(every))
    assert sums is not None
    if len({each.shape for each in sums}) > 1:
        raise CaptureError(
            f"{type(hook).__name__}: its blocks have states of width "
            f"{', '.join(str(each.shape[-1]) for each in sums)}; one direction needs one width."
        )
    totals = np.stack([each.cpu().double().numpy() for each in sums], axis=2)
    counts = np.array([[(len(kind) + 1) // 2, len(kind) // 2] for kind in kinds], dtype=np.float64)
    mean = totals.sum(axis=1) / counts.sum(axis=1)[:, None, None, None]
    return TemplateMeans(
        where, mean, totals / counts[:, :, None, None, None], (len(kinds[0]), len(kinds[1])), _rounding(hook)
    )


def read_at(
    hook: Hook, tokenizer: Any, prompts: Sequence[Prompt], places: Places, system_prompt: str | None
) -> list[torch.Tensor]:
    """One pass: per block the states [B, P, D] float32 of B prompts at P places.

    Raises:
        ConfigError: a prompt does not hold the template's tokens at these places.
        CaptureError: as `sri_sdk.steer.states.states_at`.
    """
    encoded = encode(hook, tokenizer, prompts, system_prompt)
    columns = places.columns(encoded.attention_mask)
    known = torch.tensor(places.tokens, device=columns.device)
    short = columns.min(1).values < (encoded.attention_mask == 0).sum(1)
    other = (encoded.input_ids.gather(1, columns.clamp(min=0)) != known[None]).any(1) | short
    if bool(other.any()):
        prompt = prompts[int(other.int().argmax())]
        raise ConfigError(
            f"prompt {prompt.id!r}: its tokens around the request are not those of the template that the places were "
            "found in. Use the system prompt and the template of the extraction."
        )
    return states_at(hook, encoded, columns)


def states_of(
    hook: Hook, tokenizer: Any, prompts: Sequence[Prompt], places: Places, block: int, place: str, *,
    system_prompt: str | None = None, batch_size: int = 32,
) -> NDArray[np.float32]:  # fmt: skip
    """[N, D] float32: the states of prompts at one block and place, for what needs more than means.

    Raises:
        ConfigError, CaptureError: as `read_at`.
    """
    where = places.only([place])
    read = (read_at(hook, tokenizer, batch, where, system_prompt)[block] for batch in _cut(prompts, batch_size))
    return np.concatenate([each[:, 0].cpu().numpy() for each in read])


def check_kinds(without: Sequence[Prompt], having: Sequence[Prompt]) -> None:
    """Whether two kinds of prompts can be compared.

    Raises:
        ConfigError: there are too few, one is there twice or of both kinds, or a response is started.
    """
    for name, prompts in (("without", without), ("with", having)):
        if len(prompts) < FEWEST:
            raise ConfigError(
                f"directions: {len(prompts)} prompts {name} the attribute; at least {FEWEST} of each kind are needed."
            )
        known: set[str] = set()
        if again := [p.id for p in prompts if p.text in known or known.add(p.text)]:  # type: ignore[func-returns-value]
            raise ConfigError(
                f"directions: prompt {again[0]!r} has the text of one before it ({len(again)} such prompts {name} the "
                "attribute). Each text counts once: leave them out."
            )
        if started := [p.id for p in prompts if p.prefill]:
            raise ConfigError(
                f"directions: prompt {started[0]!r} has a started response, and directions are read from prompts "
                f"alone ({len(started)} such prompts). Leave them out."
            )
    if twice := {p.text for p in without} & {p.text for p in having}:
        (one, *_) = [p.id for p in having if p.text in twice]
        raise ConfigError(
            f"directions: prompt {one!r} is among those with and those without the attribute ({len(twice)} such "
            "prompts). Each belongs to one kind."
        )


def _cut(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    return (prompts[start : start + size] for start in range(0, len(prompts), size))


def _zeros(states: torch.Tensor) -> torch.Tensor:
    """[2, 2, P, D]: sums by kind and half, as precise as the device of [B, P, D] states can be."""
    dtype = torch.float32 if states.device.type == "mps" else torch.float64
    return torch.zeros(2, 2, *states.shape[1:], dtype=dtype, device=states.device)


def _rounding(hook: Hook) -> float:
    dtype = next(each.dtype for each in hook.model.parameters() if each.is_floating_point())
    return float(torch.finfo(dtype).eps)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    """[D] -> [D] float32 of length 1."""
    found: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return found
