"""What attacks share that put a request into other words and leave the response alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_sdk.attack import Attack
from sri_sdk.records import Prompt


class Named(Attack):
    """An attack that marks its prompts with its name."""

    name: ClassVar[str]
    """As in YAML."""

    class Config(sri_sdk.Config):
        """What all of them may be told."""

        called: str | None = Field(
            default=None, min_length=1,
            description="Name that the attacked prompts carry, where one attack is used twice with other options; "
            "null = the attack's own.",
        )  # fmt: skip

    config: Config

    def attacked(self, request: Prompt, *, text: str | None = None, prefill: str | None = None) -> Prompt:
        """The request under this attack.

        Args:
            request: what is attacked; its label stays.
            text: the new prompt; None = as it was.
            prefill: how the response is started; None = as it was.
        """
        called = self.config.called or self.name
        return replace(
            request,
            id=f"{request.id}/{called}",
            text=request.text if text is None else text,
            attack=called,
            base=request.base or request.id,
            prefill=request.prefill if prefill is None else prefill,
        )


class Wrapper(Named):
    """Text around the request."""

    def apply(self, requests: Sequence[Prompt], learnt: Mapping[str, Any]) -> list[Prompt]:
        """Every request wrapped; nothing learnt is used."""
        return [self.attacked(request, text=self.wrap(request.text)) for request in requests]

    @abstractmethod
    def wrap(self, request: str) -> str:
        """The attacked text of a request."""
