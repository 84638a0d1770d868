"""From means to directions: one vector for every block (arXiv 2512.24143 v2), or one for each (v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sri_sdk._version import __version__
from sri_sdk.errors import ConfigError
from sri_sdk.files import digest
from sri_sdk.hook import Hook
from sri_sdk.records import Prompt
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.extract import Advance, TemplateMeans, extract_means
from sri_sdk.steer.identity import identity
from sri_sdk.text import normal

METHOD = "difference of means over one prompt-only pass per prompt, arXiv 2512.24143"


def one_direction(
    means: TemplateMeans, block: int, place: str, *, name: str, towards: str, provenance: Mapping[str, Any]
) -> Direction:
    """The direction of one block and place, for every block.

    Args:
        means: of the two kinds of prompts.
        block: where the states were read.
        place: which token of the template.
        name: `refusal`, or the attribute.
        towards: what a positive projection means.
        provenance: JSON types, from `made_of`; where it was read is added.

    Raises:
        ConfigError: there is no such place, or nothing differs there.
    """
    vector, at = means.unit(block, place), means.place(place)
    along = np.einsum("cbd,d->cb", means.mean[:, :, at], vector.astype(np.float64))
    read = {
        "block": block,
        "place": place,
        "token": means.places.tokens[at],
        "length": float(means.length[block, at]),
        "over_chance": _over(means, block, at),
    }
    return Direction(name, vector[None], towards, along.astype(np.float32), {**provenance, **read})


def direction_per_block(
    means: TemplateMeans, place: str, *, name: str, towards: str, provenance: Mapping[str, Any]
) -> Direction:
    """At each block the direction of that block, all read at one place; arguments as `one_direction`.

    Blocks in which the two kinds differ by no more than chance, as the first ones often do, are listed in the
    provenance as `weak_blocks`.

    Raises:
        ConfigError: there is no such place, or no block tells the two kinds apart there.
    """
    at = means.place(place)
    strong = np.flatnonzero(means.found[:, at])
    difference = means.difference[:, at]
    if not len(strong) or not means.length[:, at].all():
        means.unit(int(np.argmin(means.over_chance[:, at])), place)
    vectors = (difference / np.linalg.norm(difference, axis=1, keepdims=True)).astype(np.float32)
    along = np.einsum("cbd,bd->cb", means.mean[:, :, at], vectors.astype(np.float64))
    blocks = range(len(vectors))
    read = {
        "block": None,
        "place": place,
        "token": means.places.tokens[at],
        "length": [float(means.length[b, at]) for b in blocks],
        "over_chance": [_over(means, b, at) for b in blocks],
        "weak_blocks": [b for b in blocks if b not in strong],
    }
    return Direction(name, vectors, towards, along.astype(np.float32), {**provenance, **read})


def extract_directions(
    hook: Hook, tokenizer: Any, without: Sequence[Prompt], having: Sequence[Prompt], *, name: str,
    towards: str | None = None, place: str | None = None, system_prompt: str | None = None, batch_size: int = 32,
    advance: Advance | None = None,
) -> Direction:  # fmt: skip
    """A direction per block for any attribute, from contrastive prompts: one pass over each of them.

        polite = sri_sdk.extract_directions(hook, tokenizer, plain, polite_prompts, name="polite")
        sri_sdk.save_direction(polite, "polite.safetensors")

    Args:
        hook: the model family.
        tokenizer: of the model.
        without: prompts without the attribute.
        having: prompts with it.
        name: the attribute.
        towards: what a positive projection means, in words; None = the name.
        place: which token of the template, such as `post+0`; None = the last one, where the response begins.
        system_prompt: stands before every prompt; None = none does.
        batch_size: prompts per pass.
        advance: called after each pass.

    Raises:
        ConfigError: too few prompts, or ones that differ by nothing there; or the model cannot be read.
        CaptureError: a state is not finite, or the hook shows something else than residual blocks.
    """
    means = extract_means(
        hook, tokenizer, without, having, system_prompt=system_prompt, places=None if place is None else [place],
        batch_size=batch_size, advance=advance,
    )  # fmt: skip
    made = made_of(hook, without, having, system_prompt)
    where = place or means.places.names[-1]
    return direction_per_block(means, where, name=name, towards=towards or name, provenance=made)


def made_of(
    hook: Hook, without: Sequence[Prompt], having: Sequence[Prompt], system_prompt: str | None
) -> dict[str, Any]:
    """Provenance of what is extracted from these prompts: model, counts, and digests of texts but no text."""
    return {
        "method": METHOD,
        "model": identity(hook, system_prompt),
        "prompts": {
            "without": {"n": len(without), "digest": prompts_digest(without)},
            "with": {"n": len(having), "digest": prompts_digest(having)},
        },
        "versions": {"sri-sdk": __version__, "numpy": np.__version__},
    }


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """SHA-256 over the texts of prompts as they are compared (`sri_sdk.text.normal`), whatever their order."""
    return digest(sorted(normal(each.text).encode("utf-8", "backslashreplace").decode() for each in prompts))


def refuse_overlap(extraction: Sequence[Prompt], validation: Sequence[Prompt]) -> None:
    """Raises ConfigError if a request is in both: by its text as a reader sees it, or as the base of an attack."""
    texts = {normal(each.text): each.id for each in extraction}
    bases = {each.base or each.id for each in extraction}
    clashes = [p.id for p in validation if normal(p.text) in texts or (p.base or p.id) in bases]
    if clashes:
        raise ConfigError(
            f"steer.validation: prompt {clashes[0]!r} is among those that the directions are made of ({len(clashes)} "
            "such prompts). What chooses a direction must be new to it: take another split, or remove duplicates."
        )


def _over(means: TemplateMeans, block: int, at: int) -> float | None:
    """How many times longer than chance; None where chance gives nothing at all, which no JSON number says."""
    found = float(means.over_chance[block, at])
    return found if np.isfinite(found) else None
