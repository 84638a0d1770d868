"""Where the two layouts of the family keep their modules. LLaDA's own, and that of LLaDA-MoE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sri_sdk.structure import class_names, first_path, missing_paths

CLASSES = ("LLaDAModelLM", "LLaDAMoEModelLM", "MMadaModelLM", "FastdLLMLLaDAModelLM")
"""The family's classes. MMaDA's adds generation methods to the first; the last is Fast-dLLM's in dllm."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Dotted paths inside the model that the user holds."""

    embedding: str
    norm: str
    blocks: tuple[str, ...]
    """Where the blocks may be; the first that exists counts."""


LAYOUTS = (
    # With block_group_size above 1 there is no `blocks`: groups of blocks take its place. Each block has a child of its
    # own called ff_out, like the head beside them, and a tied head is not a module at all: the head is not looked for.
    Layout(
        "model.transformer.wte",
        "model.transformer.ln_f",
        ("model.transformer.blocks", "model.transformer.block_groups"),
    ),
    Layout("model.embed_tokens", "model.norm", ("model.layers",)),
)


def layout_of(model: Any) -> Layout | None:
    """The layout the model has; None = none of them."""
    return next((layout for layout in LAYOUTS if not _missing(model, layout)), None)


def problem_of(model: Any) -> str | None:
    """What the model's layout lacks; None = it has one of them."""
    if layout_of(model) is not None:
        return None
    wanted = " or ".join(f"{', '.join(_missing(model, layout))}" for layout in LAYOUTS)
    return f"class {class_names(model)[0]} lacks {wanted}"


def _missing(model: Any, layout: Layout) -> list[str]:
    absent = missing_paths(model, [layout.embedding, layout.norm])
    return absent if first_path(model, layout.blocks) else [*absent, layout.blocks[0]]
