"""Writes the public prompts of installed packages into the files that the dataset `jsonl` reads (`make real`).

    python -m benchmarks.real.prompts [out/real/prompts]

The folder is whole or absent. What is in it stays on this machine: the repository has the rules and the counts alone
(splits.md, splits.json). Every choice follows from a hash, so the same packages give the same files everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real.corpora import CORPORA, Corpus
from benchmarks.real.shares import Entry, harmful, harmless, own_twins, read_all, wrapped
from benchmarks.real.sources import PACKAGES, Installed, Package
from benchmarks.real.templates import Template, read_templates, share_out
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.files import replacing, sha256
from sri_sdk.strict_json import parse, write

FROZEN = Path(__file__).with_name("splits.json")


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
            split: _sha("\n".join(f"{e.id} {_sha(e.text)}" for e in members))[:16]
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
    return sha256(text.encode())


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


def check_frozen(collection: Collection, kept: Path) -> None:
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
        check_frozen(collection, FROZEN)
        write_files(collection, given.target)
    except SriError as err:
        print(err, file=sys.stderr)
        return 1
    print(table(collection))
    print(f"{len(collection.templates)} templates, {len(collection.entries)} prompts in {given.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
