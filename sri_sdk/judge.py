"""Extension point `sri.judges`: from a response's text to what it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sri_sdk.plugin import Plugin
from sri_sdk.records import Outcome, Prompt


class Judge(Plugin):
    """Reads responses. Its name and version are recorded beside every rate it decided."""

    version: str = "1"

    @abstractmethod
    def judge(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """Says of each response what it is, given its prompt; same order, same length.

        The same pair always gets the same outcome, whatever stands beside it; an empty response is `other`.
        """

    @classmethod
    def example(cls) -> Any:
        """A fresh judge for the conformance kit, or a `sri_sdk.testing.JudgeCase` with responses it must recognise.

        The default is a judge with default options.
        """
        return cls()
