"""What attacks share that leave the prompt alone and start the response."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from sri_plugin_attacks.wrapper import Named
from sri_sdk.errors import ConfigError
from sri_sdk.prefill import pieces
from sri_sdk.records import Prompt


class Started(Named):
    """A response that has begun before the model says anything."""

    def apply(self, requests: Sequence[Prompt], learnt: Mapping[str, Any]) -> list[Prompt]:
        """Every request with its response started; nothing learnt is used.

        Raises:
            ConfigError: a response is started already.
        """
        for request in requests:
            if request.prefill:
                raise ConfigError(
                    f"attack {self.name}: the response to {request.id!r} is started already, with {request.prefill!r}. "
                    "Give it plain requests."
                )
        return [self.attacked(request, prefill=self.start(request)) for request in requests]

    @abstractmethod
    def start(self, request: Prompt) -> str:
        """Response text, `<mask:7>` standing for seven holes."""


def marked(text: str) -> str:
    """A started response as an option may hold it: its marks of holes are well formed.

    Raises:
        ValueError: they are not.
    """
    try:
        pieces(text, subject="text")
    except ConfigError as err:
        raise ValueError(str(err)) from err
    return text


def chosen(request: Prompt, texts: Sequence[str]) -> str:
    """One of the texts, by a hash of the request's id: the same in every process, and all of them in use."""
    number = int.from_bytes(hashlib.sha256(request.id.encode()).digest()[:8], "little")
    return texts[number % len(texts)]
