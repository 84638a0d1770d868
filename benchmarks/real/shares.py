"""Which prompt is for what: folds, splits, and the templates that a fit learns from. A hash decides, never chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.real.corpora import Corpus
from benchmarks.real.sources import Installed
from benchmarks.real.templates import PLACE, Template
from benchmarks.real.texts import alike, near_duplicates, said, share_of, words
from benchmarks.real.twins import twins
from sri_sdk.files import sha256
from sri_sdk.strict_json import write
from sri_sdk.text import normal

SEED = "prompts 1"
OWN: Mapping[str, float] = {"fit": 0.32, "calibration": 0.34, "select": 0.07, "test": 0.27}
"""Fold -> share of the own traffic."""
KNOWN: Mapping[str, float] = {"unusual-known": 0.6, "unusual-test": 0.4}
"""Split -> share of the unusual sets that the fit knows a part of."""
HARMFUL: Mapping[str, float] = {"fit": 0.45, "select": 0.15, "test": 0.4}
"""Fold -> share of a harmful set that all folds may have; without `test`, of one that only fits may have."""
TWINS: Mapping[str, float] = {"twins-known": 0.4, "twins": 0.6}
NEAR = 0.5
"""Likeness from which two harmful requests are one request in other words."""
MOST: Mapping[str, int] = {"lore": 600}
"""Set -> most prompts that are taken of it."""
WRAPPED: Mapping[tuple[str, str], int] = {("fit", "harmless"): 3, ("fit", "harmful"): 6, ("calibration", "harmless"): 2}
"""Fold and label -> in how many of the fit's templates each request is put."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt on its way into a file."""

    corpus: str
    label: str
    text: str
    split: str = ""
    group: str = ""
    attack: str | None = None
    base: str | None = None

    @property
    def id(self) -> str:
        """Set and hash of the text; a wrapped prompt has the name of its template behind the id of its request."""
        if self.attack is not None:
            return f"{self.base}/{self.attack}"
        return f"{self.corpus}-{sha256(self.text.encode())[:16]}"

    def line(self) -> str:
        """As the dataset `jsonl` reads it."""
        made = {"id": self.id, "text": self.text, "label": self.label, "group": self.group or self.corpus}
        if self.attack is not None:
            made |= {"attack": self.attack, "base": str(self.base)}
        return write(made)


def part(key: str, shares: Mapping[str, float], what: str) -> str:
    """The part that a key falls in, by the hash of the key; shares that sum to less than 1 are stretched to it."""
    at, whole = share_of(key, f"{SEED} {what}"), sum(shares.values())
    for name, share in shares.items():
        at -= share / whole
        if at < 0:
            return name
    return name


def read_all(installed: Installed, corpora: Sequence[Corpus]) -> list[Entry]:
    """Every prompt of every set once, in the order of the sets; a text that two of them have counts for the first."""
    seen: set[str] = set()
    found: list[Entry] = []
    # Harmful sets first: what one of them has is not harmless, whatever another set says.
    for corpus in sorted(corpora, key=lambda each: each.label):
        own: list[Entry] = []
        for text in map(str.strip, corpus.read(installed)):
            # By their words alone: two that differ by blanks to fill in may look the same inside a template.
            if text and (key := " ".join(words(normal(text))) or normal(text)) not in seen:
                seen.add(key)
                own.append(Entry(corpus.name, corpus.label, text))
        found += sorted(own, key=lambda each: share_of(each.text, SEED))[: MOST.get(corpus.name)]
    return found


def harmless(entries: Sequence[Entry], corpora: Sequence[Corpus]) -> list[Entry]:
    """Harmless prompts with their splits. Questions with the same words are never in two folds."""
    uses = {corpus.name: corpus for corpus in corpora}
    found: list[Entry] = []
    for each in entries:
        corpus = uses[each.corpus]
        key = " ".join(sorted(said(each.text)))
        if corpus.use in ("own", "known"):
            split = part(key, OWN if corpus.use == "own" else KNOWN, corpus.use)
        else:
            split = corpus.split
        found.append(replace(each, split=split))
    return found


def harmful(entries: Sequence[Entry], corpora: Sequence[Corpus]) -> list[Entry]:
    """Harmful prompts with their folds, so that no test prompt is a fit's prompt in other words.

    Requests of a set that all folds may have are shared out by groups of near duplicates. Then those of the other sets
    leave that are like one on the other side. The test and the choice of methods take one of each group, the fit all.
    """
    uses = {corpus.name: corpus.use for corpus in corpora}
    about = {each.id: said(each.text) for each in entries}
    folds: dict[str, list[Entry]] = {"fit": [], "select": [], "test": []}
    shared = [each for each in entries if uses[each.corpus] == "harmful-any"]
    for group in near_duplicates([about[each.id] for each in shared], NEAR):
        members = [shared[at] for at in group]
        folds[part(min(each.text for each in members), HARMFUL, "harmful")] += members
    early = {name: share for name, share in HARMFUL.items() if name != "test"}

    def like(each: Entry, others: Iterable[Entry]) -> bool:
        return any(alike(about[each.id], about[other.id]) >= NEAR for other in others)

    for each in (each for each in entries if uses[each.corpus] == "harmful-fit"):
        fold = part(" ".join(sorted(about[each.id])), early, "harmful")
        if not any(like(each, folds[other]) for other in folds if other != fold):
            folds[fold].append(each)
    for each in (each for each in entries if uses[each.corpus] == "harmful-test"):
        if not like(each, folds["fit"]) and not like(each, folds["select"]):
            folds["test"].append(each)
    for fold in ("select", "test"):
        groups = near_duplicates([about[each.id] for each in folds[fold]], NEAR)
        folds[fold] = [folds[fold][group[0]] for group in groups]
    return [replace(each, split=fold) for fold, members in folds.items() for each in members]


def own_twins() -> list[Entry]:
    """Our harmless twins of AdvBench; both forms of one ending are in the same split."""
    return [
        Entry("own-twins", "harmless", each.text, part(each.ending, TWINS, "twins"), f"own-twins-{each.words}")
        for each in twins()
    ]


def wrapped(entries: Sequence[Entry], templates: Mapping[str, Template]) -> list[Entry]:
    """What a fit learns from: its own requests in its own templates, each request in some of them."""
    names = [name for name in templates if name.startswith("fit-")]
    made: list[Entry] = []
    for each in entries:
        count = WRAPPED.get((each.split, each.label), 0)
        for name in sorted(names, key=lambda name: share_of(f"{each.id} {name}", SEED))[:count]:
            text = templates[name].text.replace(PLACE, each.text)
            made.append(replace(each, text=text, attack=name, base=each.id))
    return made
