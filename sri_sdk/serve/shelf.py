"""The bundles of a server, by name and version: load, replace, roll back, shadow.

All that is loaded is one immutable table. A change makes a new table and swaps it in with one assignment, so a request
that has found its model keeps it from start to end, and no request is ever without one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sri_sdk.config.fit import TrustSection
from sri_sdk.errors import BundleError, SriError, did_you_mean
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.oip.model import GRAPHS, GraphName, Model
from sri_sdk.serve.settings import BundleSection

ALIAS = 12
"""Hex characters of a digest that name a version as well."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One bundle that is loaded."""

    number: str
    """"1", "2" and so on, in the order in which they were loaded under this name."""
    scorer: Scorer
    models: Mapping[GraphName, Model]

    @property
    def digest(self) -> str:
        """Of the bundle."""
        return self.scorer.bundle.digest


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One name: its versions, oldest first, and which of them is live."""

    name: str
    section: BundleSection
    versions: tuple[Version, ...]
    live: Version | None
    """None = unloaded."""
    loads: int
    """Versions that were ever loaded."""
    shadow: Version | None = None
    problem: str = ""
    """Why its last load failed."""
    shadow_on: bool = True
    """Whether the shadow that the settings name should score; off, it stays off until somebody says otherwise."""
    shadow_problem: str = ""
    """Why the shadow could not be loaded."""
    withdrawn: frozenset[str] = frozenset()
    """Digests that somebody rolled back from: a reload leaves them alone, until they are loaded by name."""


class Shelf:
    """All bundles of a server. Reading needs no lock; changes take turns.

    Args:
        bundles: what to load, by name; see `load_all`.
    """

    def __init__(self, bundles: Mapping[str, BundleSection]) -> None:
        self.entries: Mapping[str, Entry] = {name: Entry(name, each, (), None, 0) for name, each in bundles.items()}
        self._models: Mapping[tuple[str, str], Model] = {}
        """(model, version) -> model; the version is empty for the live one."""
        self._changing = threading.Lock()

    # -- asking ------------------------------------------------------------------------------------------------

    def model(self, name: str, version: str = "") -> Model:
        """A model by name and version, number or the first characters of its digest; empty = the live one.

        Raises:
            Refusal: 404, there is none.
        """
        found = self._models.get((name, version))
        if found is None:
            known = sorted({model for model, _ in self._models})
            which = f" version {ascii(version)[:40]}" if version else ""
            raise Refusal(
                404, f"model {ascii(name)[:80]}{which}: not loaded; loaded: {', '.join(known)[:400] or 'none'}."
                f"{did_you_mean(name[:80], known)}",
            )  # fmt: skip
        return found

    def models(self) -> list[Model]:
        """The live models."""
        return [model for (_, version), model in self._models.items() if not version]

    def live(self, name: str) -> Version:
        """The live version of a bundle.

        Raises:
            Refusal: 404, there is none.
        """
        entry = self.entries.get(name)
        if entry is None or entry.live is None:
            known = [each for each, found in self.entries.items() if found.live]
            raise Refusal(
                404, f"bundle {ascii(name)[:80]}: not loaded; loaded: {', '.join(known) or 'none'}."
                f"{did_you_mean(name[:80], known)}",
            )  # fmt: skip
        return entry.live

    def shadow_of(self, model: Model) -> Model | None:
        """The shadow of a live model; None = it has none, or is not live."""
        entry = self.entries.get(model.bundle)
        if entry is None or entry.shadow is None or entry.live is None or entry.live.models[model.graph] is not model:
            return None
        return entry.shadow.models[model.graph]

    def score(
        self, name: str, signals: Signals, rule: Rule = "final", accept: Collection[str] = (), unverified: bool = False
    ) -> Sequence[Verdict]:
        """Verdicts of the live version; see `Scorer.score`."""
        return self.live(name).scorer.score(signals, rule=rule, accept=accept, unverified=unverified)

    @property
    def ready(self) -> bool:
        """Whether every bundle that should be live is."""
        return all(entry.live is not None for entry in self.entries.values())

    # -- changing ----------------------------------------------------------------------------------------------

    def load_all(self) -> None:
        """Loads every bundle, as a server starts.

        Raises:
            SriError: one of them may not be loaded.
        """
        for name in self.entries:
            self.load(name)

    def load(self, name: str, digest: str | None = None, *, reloaded: bool = False) -> Version:
        """Reads a bundle from its path and makes it live; the one that was live stays, to roll back to.

        The same bundle again changes nothing.

        Args:
            name: of the bundle.
            digest: that it must have, beside what its settings ask for.
            reloaded: nobody asked for this bundle by name, so one that was rolled back from does not come back.

        Raises:
            Refusal: 404, no such name.
            SriError: it may not be loaded. Everything stays as it is.
        """
        with self._changing:
            entry = self._entry(name)
            try:
                scorer = opened(entry.section.path, entry.section.trust, digest)
            except SriError as err:
                self._put(replace(entry, problem=str(err)))
                raise
            entry = replace(self._with_shadow(entry), problem="")
            if entry.live is not None and entry.live.digest == scorer.bundle.digest:
                self._put(entry)
                return entry.live
            if reloaded and entry.live is not None and scorer.bundle.digest in entry.withdrawn:
                self._put(entry)
                log.info("bundle %s: its path has what was rolled back from; version %s stays", name, entry.live.number)
                return entry.live
            known = next((each for each in entry.versions if each.digest == scorer.bundle.digest), None)
            made = known or version(name, str(entry.loads + 1), scorer)
            # What was live comes right before what is: that is where a rollback leads.
            others = [each for each in entry.versions if each is not made and each is not entry.live]
            versions = (*others, *([entry.live] if entry.live else []), made)[-entry.section.keep :]
            loads = entry.loads + (known is None)
            withdrawn = entry.withdrawn - {made.digest}
            self._put(replace(entry, versions=versions, live=made, loads=loads, withdrawn=withdrawn))
            log.info("bundle %s: version %s is live, %s", name, made.number, made.digest[:ALIAS])
            return made

    def unload(self, name: str) -> None:
        """Takes a bundle out, all its versions.

        Raises:
            Refusal: 404, no such name.
        """
        with self._changing:
            self._put(replace(self._entry(name), versions=(), live=None, shadow=None))
            log.info("bundle %s: unloaded", name)

    def roll_back(self, name: str) -> Version:
        """Makes the version live that was loaded before the live one.

        Raises:
            Refusal: 404, no such name; 409, there is no older version.
        """
        with self._changing:
            entry = self._entry(name)
            at = entry.versions.index(entry.live) if entry.live is not None else 0
            if at == 0:
                raise Refusal(
                    409, f"bundle {name}: no version older than the live one is loaded, so there is none to go back "
                    "to. Load another bundle.",
                )  # fmt: skip
            older, left = entry.versions[at - 1], entry.versions[at]
            self._put(replace(entry, live=older, withdrawn=entry.withdrawn | {left.digest}))
            log.info("bundle %s: rolled back to version %s, %s", name, older.number, older.digest[:ALIAS])
            return older

    def set_shadow(self, name: str, on: bool) -> Version | None:
        """Loads the shadow that the settings name, or takes it out.

        Raises:
            Refusal: 404, no such name; 409, the settings name none.
            SriError: it may not be loaded.
        """
        with self._changing:
            entry = self._entry(name)
            if on and entry.section.shadow is None:
                raise Refusal(409, f"bundle {name}: its settings name no shadow. Add `shadow: {{path: ...}}` to them.")
            entry = replace(entry, shadow_on=on, shadow_problem="")
            self._put(replace(entry, shadow=self._shadow(entry) if on else None))
            return self.entries[name].shadow

    def reload(self) -> dict[str, str]:
        """Loads every bundle again that is not held: name -> what went wrong. What fails stays as it was; a shadow
        that fails is named as `NAME, shadow`.

        What somebody decided since stays decided until the process ends: a bundle that was unloaded stays out, one that
        was rolled back from does not come back, and a shadow that was stopped stays so.
        """
        problems = {}
        for name, entry in self.entries.items():
            if not entry.section.hold and entry.live is not None:
                try:
                    self.load(name, reloaded=True)
                except SriError as err:
                    log.error("bundle %s: not replaced. %s", name, err)
                    problems[name] = str(err)
                if why := self.entries[name].shadow_problem:
                    problems[f"{name}, shadow"] = why
        return problems

    # -- internals ---------------------------------------------------------------------------------------------

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise Refusal(
                404, f"bundle {ascii(name)[:80]}: the settings name no such bundle; they name "
                f"{', '.join(self.entries) or 'none'}.{did_you_mean(name[:80], self.entries)}",
            )  # fmt: skip
        return self.entries[name]

    def _with_shadow(self, entry: Entry) -> Entry:
        """With its shadow read again. One that fails is reported, and costs the live bundle nothing."""
        try:
            return replace(entry, shadow=self._shadow(entry) if entry.shadow_on else None, shadow_problem="")
        except SriError as err:
            log.error("bundle %s: its shadow is not loaded. %s", entry.name, err)
            return replace(entry, shadow_problem=str(err))

    def _shadow(self, entry: Entry) -> Version | None:
        if (section := entry.section.shadow) is None:
            return None
        scorer = opened(section.path, section.trust)
        if entry.shadow is not None and entry.shadow.digest == scorer.bundle.digest:
            return entry.shadow
        return version(entry.name, "shadow", scorer)

    def _put(self, entry: Entry) -> None:
        entries = {**self.entries, entry.name: entry}
        models: dict[tuple[str, str], Model] = {}
        for each in entries.values():
            for found in each.versions:
                for model in found.models.values():
                    models[model.name, found.number] = models[model.name, found.digest[:ALIAS]] = model
            if each.live is not None:
                models.update({(model.name, ""): model for model in each.live.models.values()})
        self.entries, self._models = entries, models


def opened(path: Path, trust: TrustSection, digest: str | None = None) -> Scorer:
    """A bundle that proves what it must.

    Raises:
        SriError: it does not, or is damaged.
    """
    scorer = Scorer.open(path, public_key=trust.public_key, digest=trust.digest or digest)
    if digest is not None and digest.strip().lower() != scorer.bundle.digest:
        raise BundleError(
            f"{path}: has digest {scorer.bundle.digest[:ALIAS]}, and another one was asked for. Put that bundle there, "
            "or ask for this one."
        )
    return scorer


def version(name: str, number: str, scorer: Scorer) -> Version:
    """A version with its models."""
    models = {graph: Model(name, f"{name}_{graph}", number, graph, scorer) for graph in GRAPHS}
    return Version(number, scorer, models)
