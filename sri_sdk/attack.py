"""Extension point `sri.attacks`: a published way to make a request slip past a model's refusal, as a transform."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sri_sdk.hook import Scheme
from sri_sdk.plugin import Plugin
from sri_sdk.records import Prompt
from sri_sdk.target import Target


class Attack(Plugin):
    """Turns plain requests into attacked ones. What is asked for stays the same, and so does the label."""

    source: ClassVar[str]
    """Who published it: authors and arXiv number, for the report."""
    family: ClassVar[str]
    """Attacks of one family are one idea; leaving a family out tests a guard on attacks it never saw."""
    schemes: ClassVar[frozenset[Scheme] | None] = None
    """Schemes of the models it works on; None = all."""
    verbatim: ClassVar[bool] = True
    """Whether the attacked text contains the request word for word; False if it is rewritten, reversed or encoded."""

    def prepare(self, target: Target, practice: Sequence[Prompt]) -> Mapping[str, Any]:
        """Learns from a model what `apply` needs, such as a suffix; most attacks learn nothing.

        Args:
            target: the model to attack.
            practice: plain harmful requests that are used for nothing else.

        Returns:
            What was learnt, as JSON types: it is stored, and passed to `apply` in this run and in a resumed one.
        """
        return {}

    @abstractmethod
    def apply(self, requests: Sequence[Prompt], learnt: Mapping[str, Any]) -> list[Prompt]:
        """The attacked prompts, in the order of the requests.

        Args:
            requests: plain prompts; harmful ones, or harmless ones to see what the wrapper alone does.
            learnt: what `prepare` returned.

        Returns:
            New prompts: label kept, `attack` set, `base` the id of the request, an id of their own.
        """

    @classmethod
    def example(cls) -> Any:
        """A fresh attack for the conformance kit; the default is one with default options."""
        return cls()
