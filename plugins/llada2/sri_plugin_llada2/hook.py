"""Stub."""

from __future__ import annotations

from typing import Any

import sri_sdk

SRI_PLUGIN_API = 1


class Llada2Hook(sri_sdk.Hook):
    """Stub."""

    scheme = "masked"

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Fit:
        """Stub."""
        return sri_sdk.Fit(False, "being written")

    def final_norm(self) -> Any:
        """Stub."""

    def layers(self) -> Any:
        """Stub."""

    def embedding(self) -> Any:
        """Stub."""

    def hidden_size(self) -> int:
        """Stub."""
        return 0

    def plan(self, call: Any, run: Any) -> Any:
        """Stub."""
