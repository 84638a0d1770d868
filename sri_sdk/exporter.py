"""Extension point `sri.exporters`: a fitted guard becomes files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from sri_sdk.plugin import Plugin

if TYPE_CHECKING:
    from sri_sdk.bundle import GuardParts


class Exporter(Plugin):
    """Writes a fitted guard as files that execute nothing."""

    @abstractmethod
    def export(self, parts: GuardParts, target: Path) -> Path:
        """Writes the artefact to `target` (to a temporary name first, then renamed) and returns its path.

        Raises:
            BundleError: the artefact does not reproduce the detector's own scores.
        """
