"""Every dataset an evaluation takes prompts from, opened once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sri_sdk import registry
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.dataset import Dataset
from sri_sdk.files import digest


class Datasets:
    """Opens datasets on first use and keeps them, because reading one may take a while."""

    def __init__(self, config: EvaluationConfig) -> None:
        self._opened: dict[str, tuple[str, Dataset]] = {}
        self.main = self.open(config.prompts.dataset, config.prompts.options)
        """The one that plain prompts come from."""

    def open(self, name: str, options: Mapping[str, Any]) -> Dataset:
        """The dataset of this name with these options.

        Raises:
            PluginError, ConfigError: there is no such plugin, or it refuses its options or files.
        """
        key = digest([name, dict(options)])
        if key not in self._opened:
            self._opened[key] = name, registry.build("datasets", name, options)
        return self._opened[key][1]

    def __iter__(self) -> Iterator[tuple[str, Dataset]]:
        """Name and dataset of all that were opened, in that order."""
        return iter(self._opened.values())
