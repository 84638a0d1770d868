"""Where the states of the families of this plugin are: a trunk `model` with embedding, layers and norm, and a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import sri_sdk
from sri_sdk.records import Match
from sri_sdk.structure import missing_paths, module_at, modules_at, not_of_family, unwrapped

if TYPE_CHECKING:
    import torch

EMBEDDING, LAYERS, NORM = "model.embed_tokens", "model.layers", "model.norm"
PARTS = (EMBEDDING, LAYERS, NORM, "lm_head")


class TrunkHook(sri_sdk.Hook):
    """A model of this layout, known by its class."""

    CLASSES: ClassVar[tuple[str, ...]]
    """Class names of the family's models."""

    @classmethod
    def fits(cls, model: Any) -> Match:
        """By class name and structure."""
        stranger, name = not_of_family(model, cls.CLASSES, cls.calls), type(unwrapped(model)).__name__
        if stranger is not None and not stranger.if_named:
            return stranger
        missing = missing_paths(model, PARTS)
        if missing:
            return Match(False, f"a {name} without {', '.join(missing)}")
        return stranger or Match(True, f"class {name}, final norm at model.norm")

    def final_norm(self) -> torch.nn.Module:
        """The norm before the head."""
        return module_at(self.model, NORM)

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks, first to last."""
        return modules_at(self.model, LAYERS)

    def embedding(self) -> torch.nn.Module:
        """The token embedding."""
        return module_at(self.model, EMBEDDING)

    def hidden_size(self) -> int:
        """D."""
        return int(unwrapped(self.model).config.hidden_size)
