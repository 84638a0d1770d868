"""Writes the public prompts of installed packages into the files that the dataset `jsonl` reads (`make real`).

    python -m benchmarks.real.prompts [out/real/prompts]

The folder is whole or absent. What is in it stays on this machine: the repository has the rules and the counts alone
(splits.md, splits.json). Every choice follows from a hash, so the same packages give the same files everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.real.corpora import CORPORA, Corpus
from benchmarks.real.sources import PACKAGES, Installed, Package
from benchmarks.real.templates import PLACE, Template, read_templates, share_out
from benchmarks.real.texts import alike, near_duplicates, said, share_of
from benchmarks.real.twins import twins
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.files import replacing
from sri_sdk.strict_json import parse, write
from sri_sdk.text import normal

FROZEN = Path(__file__).with_name("splits.json")
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
WRAPPED: Mapping[tuple[str, str], int] = {("fit", "harmless"): 4, ("fit", "harmful"): 12, ("calibration", "harmless"): 3}
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
        return f"{self.corpus}-{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

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
    seen: dict[str, str] = {}
    found: list[Entry] = []
    # Harmful sets first: what one of them has is not harmless, whatever another set says.
    for corpus in sorted(corpora, key=lambda each: each.label):
        own: list[Entry] = []
        for text in map(str.strip, corpus.read(installed)):
            if text and seen.setdefault(normal(text), corpus.name) == corpus.name:
                own.append(Entry(corpus.name, corpus.label, text))
        once = {each.id: each for each in own}.values()
        found += sorted(once, key=lambda each: share_of(each.text, SEED))[: MOST.get(corpus.name)]
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


@dataclass(frozen=True, slots=True)
class Collection:
    """All prompts, shared out."""

    entries: Sequence[Entry]
    templates: Mapping[str, Template]

    def splits(self) -> dict[str, list[Entry]]:
        """Split -> its prompts, in the order of their ids."""
        found: dict[str, list[Entry]] = {}
        for each in sorted(self.entries, key=lambda each: (each.split, each.id)):
            found.setdefault(each.split, []).append(each)
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> set -> plain prompts of it."""
        plain = Counter((each.split, each.corpus) for each in self.entries if each.attack is None)
        found: dict[str, dict[str, int]] = {}
        for (split, corpus), count in sorted(plain.items()):
            found.setdefault(split, {})[corpus] = count
        return found

    def frozen(self) -> dict[str, Any]:
        """What the repository keeps: names, counts and hashes, no text."""
        digests = {
            split: hashlib.sha256("\n".join(f"{e.id} {_sha(e.text)}" for e in members).encode()).hexdigest()[:16]
            for split, members in self.splits().items()
        }
        return {
            "templates": {
                name: {"file": each.file, "words": each.length, "sha256": _sha(each.text)[:16]}
                for name, each in self.templates.items()
            },
            "counts": self.counts(),
            "digests": digests,
        }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def collect(packages: Sequence[Package] = PACKAGES, corpora: Sequence[Corpus] = CORPORA) -> Collection:
    """Reads and shares out everything.

    Raises:
        ConfigError: a package is missing, or another version of it is there.
    """
    installed = Installed(packages)
    found = read_all(installed, corpora)
    entries = harmless([each for each in found if each.label == "harmless"], corpora)
    entries += harmful([each for each in found if each.label == "harmful"], corpora)
    entries += own_twins()
    templates = share_out(list(read_templates(installed)))
    return Collection([*entries, *wrapped(entries, templates)], templates)


def write_files(collection: Collection, target: Path) -> None:
    """Writes one file per split, and a text per template; the folder appears whole."""
    with replacing(target) as folder:
        folder.mkdir()
        for split, members in collection.splits().items():
            text = "".join(f"{each.line()}\n" for each in members)
            (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
        (folder / "templates").mkdir()
        for name, template in collection.templates.items():
            (folder / "templates" / f"{name}.txt").write_text(template.text + "\n", encoding="utf-8")


def check_frozen(collection: Collection, kept: Path = FROZEN) -> None:
    """Compares with what was frozen before anything was measured.

    Raises:
        ConfigError: the same versions of the packages gave other prompts or templates.
    """
    found, wanted = collection.frozen(), parse(kept.read_bytes())
    if found != wanted:
        parts = [key for key in found if found[key] != wanted.get(key)]
        raise ConfigError(
            f"{kept.name}: {', '.join(parts)} differ from what was frozen, so results would not be those of the same "
            "prompts. Install the packages again; if a rule was changed on purpose, freeze anew with --freeze, and "
            "measure everything again."
        )


def table(collection: Collection, corpora: Sequence[Corpus] = CORPORA, packages: Sequence[Package] = PACKAGES) -> str:
    """Set, package, licence, label, and how many plain prompts of it are in which split, as Markdown."""
    known = {package.name: package for package in packages}
    by_set: dict[str, list[str]] = {}
    for split, sets in collection.counts().items():
        for name, count in sets.items():
            by_set.setdefault(name, []).append(f"{split} {count}")
    lines = ["| set | package | licence | label | prompts |", "|---|---|---|---|---|"]
    for each in corpora:
        package = known[each.package]
        where = ", ".join(by_set.get(each.name, ["none"]))
        lines.append(f"| {each.name} | {package.name} {package.version} | {package.licence} | {each.label} | {where} |")
    lines.append(f"| own-twins | this repository | Apache-2.0 | harmless | {', '.join(by_set['own-twins'])} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.prompts", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", type=Path, default=Path("out/real/prompts"))
    parser.add_argument("--freeze", action="store_true", help="keep this choice in splits.json; before measuring only")
    given = parser.parse_args(arguments)
    try:
        collection = collect()
        if given.freeze:
            FROZEN.write_text(write(collection.frozen(), indent=1) + "\n", encoding="utf-8")
        check_frozen(collection)
        write_files(collection, given.target)
    except SriError as err:
        print(err, file=sys.stderr)
        return 1
    print(table(collection))
    print(f"{len(collection.templates)} templates, {len(collection.entries)} prompts in {given.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
