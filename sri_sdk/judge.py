"""Extension point `sri.judges`: classifies responses by their text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sri_sdk.plugin import Plugin
from sri_sdk.records import Outcome, Prompt


class Judge(Plugin):
    """Classifies responses. Its name and version are recorded beside every rate that depends on it."""

    version: str = "1"
    knows_harm: ClassVar[bool] = False
    """Whether it tells harm by what a response says. False = it knows refusals, and calls everything else what the
    prompt's label says; a recovery then takes its word for refusals alone."""

    @abstractmethod
    def judge(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """Classifies each response, given its prompt; same order, same length.

        The same pair always gets the same outcome, whatever else is in the batch; an empty response is `other`. A
        response is what the model said: where it thinks before it answers, its thoughts are left out.
        """

    def unparsed(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[bool]:
        """Which of these responses, just judged, are `other` because the judge's own answer could not be read.

        A fit and an evaluation count them and stop above the share in `limits`. The default counts none: a judge
        without a model behind it always knows what it says. A judge that cannot tell which may count them all in an
        attribute `unparsable`.
        """
        return [False] * len(responses)

    def refuses(self, text: str) -> bool | None:
        """Whether a text, or a piece of one, has the words of a refusal in it; None, the default = it cannot tell.

        Asked about every beginning of a response, to find the tokens that refuse: a recovery never opens those. It must
        cost next to nothing, so a judge that asks a model cannot tell.
        """
        return None

    @classmethod
    def example(cls) -> Any:
        """A fresh judge for the conformance kit, or a `sri_sdk.testing.JudgeCase` with responses it must recognise.

        The default is a judge with default options.
        """
        return cls()
