"""Extension point `sri.judges`: classifies responses by their text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sri_sdk.plugin import Plugin
from sri_sdk.records import Outcome, Prompt


class Judge(Plugin):
    """Classifies responses. Its name and version are recorded beside every rate that depends on it."""

    version: str = "1"

    @abstractmethod
    def judge(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """Classifies each response, given its prompt; same order, same length.

        The same pair always gets the same outcome, whatever else is in the batch; an empty response is `other`.
        """

    @classmethod
    def example(cls) -> Any:
        """A fresh judge for the conformance kit, or a `sri_sdk.testing.JudgeCase` with responses it must recognise.

        The default is a judge with default options.
        """
        return cls()
