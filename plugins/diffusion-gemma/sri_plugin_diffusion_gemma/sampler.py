"""Stub."""

from __future__ import annotations

from typing import Any

import sri_sdk

SRI_PLUGIN_API = 1


class DiffusionGemmaSampler(sri_sdk.Sampler):
    """Stub."""

    schemes = frozenset({"canvas"})

    def budget(self) -> int:
        """Stub."""
        return 1

    def canvas(self) -> int:
        """Stub."""
        return 1

    def steps(self, *args: Any, **kwargs: Any) -> Any:
        """Stub."""
