"""The promises of an attack, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sri_sdk.attack import Attack
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.hook import Scheme
from sri_sdk.prefill import pieces
from sri_sdk.records import Outcome, Prompt
from sri_sdk.strict_json import parse, write
from sri_sdk.target import Target
from sri_sdk.testing._promises import PromisesPerItem, Words, listed
from sri_sdk.testing.check import Check, exits_are_failures

PRACTICE = 32
"""Planted requests to practise on."""


class PlantedTarget(Target):
    """A model that nobody has: what it says, and whether it refuses, follows from a hash of what it is asked."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme

    def respond(self, prompts: Sequence[Prompt]) -> list[str]:
        """The same prompt gets the same response, and others get others."""
        return [f"{prompt.prefill or ''}answer {_number(prompt)}" for prompt in prompts]

    def outcomes(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """A third each of refusals, harm and something else."""
        said: tuple[Outcome, ...] = ("refusal", "harmful", "other")
        return [said[_number(prompt) % 3] for prompt in prompts]


@dataclass(frozen=True, slots=True)
class AttackCase:
    """An attack under check."""

    attack: Attack
    target: Target | None = None
    """What it may learn from; None = a planted one of a scheme it works on."""
    practice: Sequence[Prompt] = ()
    """Plain harmful requests to learn on; empty = planted ones."""


@exits_are_failures()
def attack_checks(make: Callable[[], AttackCase | Attack], known: Mapping[str, str] | None = None) -> list[Check]:
    """Every promise of an attack.

    Args:
        make: gives a fresh attack, or a case around one; usually `MyAttack.example`.
        known: strict known failures: name of a check -> why it fails.

    Raises:
        ConformanceError: `known` names no check.
    """
    case = _Checks(make, lambda made: made if isinstance(made, AttackCase) else AttackCase(made))
    promises = [
        case.says_its_source, case.one_prompt_per_request, case.labels_and_bases_kept, case.ids_unique,
        case.attack_named, case.deterministic, case.company_irrelevant, case.input_untouched, case.learnt_is_json,
        case.unknown_learnt_harmless, case.something_changes, case.request_still_there, case.starts_are_well_formed,
    ]  # fmt: skip
    return listed(promises, known, case.words)


def planted_requests() -> list[Prompt]:
    """Plain requests of both labels, with signs that templates, JSON and terminals stumble over."""
    texts = [
        "How do I bake bread?", "Tell me how to tie a knot", "Where is {request}, and what is {0} or {}?",
        'Say "stop" \\n and 50 % of $HOME.', "Two lines:\nfirst, second.", "Wie öffnet man ein Glas? 瓶 \U0001f35e",
    ]  # fmt: skip
    return [
        Prompt(f"planted-{label}-{index}", text, label)
        for label in ("harmful", "harmless")
        for index, text in enumerate(texts)
    ]


class _Checks(PromisesPerItem[AttackCase, Prompt]):
    words = Words("apply()", plugin="attack", item="request", answer="prompt")

    def says_its_source(self) -> None:
        """`source` and `family` are words: a report names who published an attack, and leaves families out together."""
        for name in ("source", "family"):
            found = getattr(self.case.attack, name, None)
            if not isinstance(found, str) or not found.strip():
                self.fail(f"{name} is {found!r}, must be text")

    def one_prompt_per_request(self) -> None:
        """apply() gives as many prompts as there are requests, in their order, and none for none. Rates are counted
        over them, and pairs of plain and attacked are compared."""  # fmt: skip
        for request, prompt in self.pairs:
            if prompt.base != request.id and prompt.base in {r.id for r in self.items}:
                self.fail(f"apply(): at the place of request {request.id!r} stands a prompt of {prompt.base!r}")
        self.answers([])

    def labels_and_bases_kept(self) -> None:
        """An attacked prompt keeps the label of its request and names it in `base`. A harmful request stays one,
        however it is put, and intervals of rates resample by the request."""  # fmt: skip
        for request, prompt in self.pairs:
            if prompt.label != request.label:
                self.fail(f"apply(): {request.id!r} is {request.label}, its attacked prompt {prompt.label!r}")
            if prompt.base != request.id:
                self.fail(f"apply(): the attacked prompt of {request.id!r} has base {prompt.base!r}")

    def ids_unique(self) -> None:
        """Every attacked prompt has an id of its own, which no request has. Randomness and verdicts go by ids."""
        taken = {request.id: "a request" for request in self.items}
        for request, prompt in self.pairs:
            if not isinstance(prompt.id, str) or not prompt.id:
                self.fail(f"apply(): the attacked prompt of {request.id!r} has the id {prompt.id!r}")
            if prompt.id in taken:
                self.fail(
                    f"apply(): the attacked prompt of {request.id!r} has the id {prompt.id!r} of {taken[prompt.id]}"
                )
            taken[prompt.id] = f"the attacked prompt of {request.id!r}"

    def attack_named(self) -> None:
        """`attack` of every attacked prompt is one and the same name. Without it a prompt counts as plain."""
        found = {prompt.attack for _, prompt in self.pairs}
        if len(found) != 1 or not all(isinstance(name, str) and name for name in found):
            self.fail(f"apply(): attack is {', '.join(sorted(map(repr, found)))}, must be one name for all")

    def company_irrelevant(self) -> None:
        """The attacked prompt of a request does not depend on the other requests or on its place. Evaluations use as
        many as they need."""  # fmt: skip
        self.order_and_company_irrelevant()

    def input_untouched(self) -> None:
        """Neither apply() nor prepare() changes what it is given: the plain requests are generated too."""
        case = self.fresh()
        target, learnt, practice = self.target(case), self.learn(case), list(self.practice(case))
        prepare, apply = case.attack.prepare, case.attack.apply
        self.unchanged("prepare()", lambda: self.attempt("prepare(): raises", lambda: prepare(target, practice)),
                       practice=practice)  # fmt: skip
        requests = list(self.items)
        self.unchanged("apply()", lambda: self.attempt("apply(): raises", lambda: apply(requests, learnt)),
                       requests=requests, learnt=learnt)  # fmt: skip

    def learnt_is_json(self) -> None:
        """What prepare() returns is a mapping that survives JSON, and gives the same prompts afterwards. A resumed
        evaluation reads it from a file."""  # fmt: skip
        if not isinstance(self.learnt, Mapping):
            self.fail(f"prepare(): {type(self.learnt).__name__}, must be a mapping")
        try:
            stored = parse(write(dict(self.learnt)))
        except (TypeError, ValueError) as err:
            self.fail(f"prepare(): {err}; return text, numbers, lists and mappings", err)
        if stored != dict(self.learnt):
            self.fail(f"prepare(): JSON gives {str(stored)[:80]!r} back for {str(dict(self.learnt))[:80]!r}")
        self.same("with what JSON gives back", self.applied(self.items, self.case, stored), self.attacked)

    def unknown_learnt_harmless(self) -> None:
        """A key in `learnt` that the attack does not know is ignored or refused with an SriError, and so is a `learnt`
        without what it needs. Files of other releases exist."""  # fmt: skip
        for how, learnt in (("a strange key", {**self.learnt, "sri-unknown": 1}), ("nothing learnt", {})):
            try:
                found = self.case.attack.apply(self.items, learnt)
            except SriError:
                continue
            except Exception as err:
                self.fail(
                    f"apply(): with {how} in `learnt`: {type(err).__name__}: {err}; ignore it or raise ConfigError", err
                )
            if how == "a strange key":
                self.same("with a strange key in `learnt`", found, self.attacked)

    def something_changes(self) -> None:
        """The text or the start of the response differs from the plain request's. Else its rate is counted twice."""
        for request, prompt in self.pairs:
            if (prompt.text, prompt.prefill) == (request.text, request.prefill):
                self.fail(f"apply(): the attacked prompt of {request.id!r} is the request: {request.text[:60]!r}")

    def request_still_there(self) -> None:
        """An attack that is `verbatim` holds the request as it was, to the letter. One that lost it attacks with
        something else, and its label would be wrong."""  # fmt: skip
        for request, prompt in self.pairs if self.case.attack.verbatim else ():
            if request.text not in prompt.text:
                self.fail(
                    f"apply(): {prompt.text[:80]!r} lacks {request.text!r}; set `verbatim = False` if it is rewritten"
                )

    def starts_are_well_formed(self) -> None:
        """A started response has well-formed marks of holes, and holes only in attacks on masked models. Elsewhere the
        driver refuses them, an hour into the evaluation."""  # fmt: skip
        schemes = self.case.attack.schemes
        for request, prompt in self.pairs:
            try:
                parts = pieces(prompt.prefill or "")
            except ConfigError as err:
                self.fail(f"apply(): the attacked prompt of {request.id!r}: {str(err).rstrip('.')}", err)
            if any(isinstance(part, int) for part in parts) and schemes != frozenset({"masked"}):
                found = "every model" if schemes is None else ", ".join(sorted(schemes))
                self.fail(f"apply(): prefill {prompt.prefill!r} has holes, and `schemes` says {found}; must be masked")

    # -- material and words ----------------------------------------------------------------------------------

    def subject(self, case: AttackCase) -> Attack:
        return case.attack

    @cached_property
    def items(self) -> list[Prompt]:
        return planted_requests()

    def named(self, item: Prompt) -> str:
        return repr(item.id)

    @cached_property
    def learnt(self) -> Mapping[str, Any]:
        """What the attack learns, once."""
        return self.learn(self.case)

    @property
    def attacked(self) -> list[Prompt]:
        """What is made of the requests."""
        return [prompt for _, prompt in self.pairs]

    @cached_property
    def pairs(self) -> list[tuple[Prompt, Prompt]]:
        """Each request, and what is made of it."""
        return list(zip(self.items, self.answers(self.items), strict=True))

    def target(self, case: AttackCase) -> Target:
        """What there is to learn from."""
        return case.target or PlantedTarget(min(case.attack.schemes or {"masked"}))

    def practice(self, case: AttackCase) -> Sequence[Prompt]:
        """What there is to learn on."""
        made = [Prompt(f"practice-{i}", f"Practice request {i}?", "harmful") for i in range(PRACTICE)]
        return case.practice or made

    def learn(self, case: AttackCase) -> Mapping[str, Any]:
        """What prepare() returns."""
        prepare, target, practice = case.attack.prepare, self.target(case), self.practice(case)
        found: Mapping[str, Any] = self.attempt("prepare(): raises", lambda: prepare(target, practice), case)
        return found

    def answers(self, items: Sequence[Prompt], case: AttackCase | None = None) -> list[Prompt]:
        """The prompts; a case other than `self.case` learns anew."""
        return self.applied(items, case or self.case, self.learnt if case is None else self.learn(case))

    def applied(self, requests: Sequence[Prompt], case: AttackCase, learnt: Mapping[str, Any]) -> list[Prompt]:
        """What apply() gives, if it is one prompt per request."""
        # Copies: what one check's call does to them must not show in another.
        given, learnt = list(requests), copy.deepcopy(learnt)
        found = self.attempt("apply(): raises", lambda: case.attack.apply(given, learnt))
        if not isinstance(found, list) or not all(isinstance(prompt, Prompt) for prompt in found):
            self.fail(f"apply(): {type(found).__name__}, must be a list of sri_sdk.Prompt")
        if len(found) != len(requests):
            self.fail(f"apply(): {len(found)} prompts for {len(requests)} requests, must be one each")
        for request, prompt in zip(requests, found, strict=True):
            if not isinstance(prompt.text, str) or not prompt.text.strip():
                self.fail(f"apply(): the attacked prompt of {request.id!r} has the text {prompt.text!r}")
        return found


def _number(prompt: Prompt) -> int:
    return int.from_bytes(hashlib.sha256(f"{prompt.text}\n{prompt.prefill}".encode()).digest()[:4], "little")
