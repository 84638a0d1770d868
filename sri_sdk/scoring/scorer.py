"""From signals to verdicts, without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import Manifest
from sri_sdk.bundle.signature import KeyFile
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.debounce import debounced
from sri_sdk.errors import ScoringError
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.admission import admit
from sri_sdk.scoring.growing import GrowingSignals
from sri_sdk.scoring.one_score import OneScoreJudge
from sri_sdk.scoring.parts import PartsJudge
from sri_sdk.scoring.runtime import RunGraph, Scored, load, score_once, score_prefixes, score_rows
from sri_sdk.scoring.self_test import self_test
from sri_sdk.scoring.verdicts import Said, Verdicts

if TYPE_CHECKING:
    from sri_sdk.policy import Debounce


class Scorer:
    """A bundle, loaded and self-tested. May be shared between threads."""

    def __init__(self, bundle: Bundle, runs: dict[str, RunGraph]) -> None:
        """Use `Scorer.open`."""
        self.bundle = bundle
        self.manifest = manifest = bundle.manifest
        self._signal, self._prefix = runs["signal"], runs["prefix"]
        self._judge: OneScoreJudge | PartsJudge
        if isinstance(manifest, Manifest):
            self._judge, self._count = OneScoreJudge(manifest), None
        else:
            self._judge, self._count = PartsJudge(manifest), len(manifest.parts)
        self._shape = (manifest.signal.cells, len(manifest.ranges[0]))
        self._all_cells = np.array([manifest.signal.cells], dtype=np.int64)

    @property
    def thresholds(self) -> dict[str, Threshold]:
        """By rule, of a guard with one score; empty where it has parts."""
        return self._judge.thresholds if isinstance(self._judge, OneScoreJudge) else {}

    def __reduce__(self) -> NoReturn:
        raise ScoringError(
            f"Scorer of {self.bundle.path}: cannot be copied or pickled, since it holds sessions of onnxruntime. "
            "Start worker processes with the method `spawn` and call Scorer.open(PATH) once in each; threads share one."
        )

    @classmethod
    def open(
        cls, path: str | PathLike[str], *, verify: bool = True, public_key: KeyFile | None = None,
        digest: str | None = None,
    ) -> Self:  # fmt: skip
        """Reads a bundle and makes it ready.

        Without `public_key` or `digest`, the checks protect against damage and against files that attack the process,
        but not against a bundle that was swapped for one that finds everything clear. A bundle of the tier `python` is
        then first loaded in another process with limits on memory and time.

        Args:
            path: the bundle folder, or its zip.
            verify: also run the golden self-test. Hashes, graphs and edges are always checked.
            public_key: PEM file with the public key that must have signed the bundle, or the file's bytes.
            digest: the digest the bundle must have, as hex.

        Raises:
            BundleError: missing, damaged, of another format, signed by somebody else, another bundle, a graph that is
                not allowed, or this runtime computes other numbers.
            ConfigError: `public_key` is not a public key, or `digest` not a digest.
            MissingExtra: `public_key` was given and cryptography is not installed.
        """
        bundle = Bundle.read(path, public_key=public_key, digest=digest)
        runs = load_graphs(bundle, ("signal", "prefix"))
        if verify:
            self_test(bundle, runs)
        return cls(bundle, runs)

    # -- one call, many verdicts -----------------------------------------------------------------------------

    def score(
        self, signals: Signals, *, rule: Rule = "final", accept: Collection[str] = (), unverified: bool = False,
        subject: str = "signals", debounce: Debounce | None = None,
    ) -> Sequence[Verdict]:  # fmt: skip
        """One verdict per generation, in order. A `Verdict` is made when somebody looks at it.

        A row that cannot be scored is `unmonitored` and says why; it never fails its neighbours.

        Args:
            signals: N generations on the guard's grid.
            rule: `final` judges finished generations; `online` judges every length up to the row's own, as a monitor
                would have done while they ran, so an alarm stands even if later cells are unreadable; `request`
                judges what the guard says of requests alone, whether or not anything was generated.
            accept: soft fingerprint fields that may differ.
            unverified: score signals without a fingerprint too.
            subject: what the signals are, for messages.
            debounce: alarms it takes under the rule `online`, as a policy has it; the score of a generation is then the
                largest debounced one. Parts that read the request alone are not debounced.

        Raises:
            ScoringError: T or C differ, lengths are not in 0..T, or no fingerprint and not `unverified`.
            ModelMismatch: the signals belong to another model, tap or profile.
        """
        return self.judge(signals, rule=rule, accept=accept, unverified=unverified, subject=subject, debounce=debounce)

    def judge(
        self, signals: Signals, *, rule: Rule = "final", accept: Collection[str] = (), unverified: bool = False,
        subject: str = "signals", debounce: Debounce | None = None,
    ) -> Verdicts:  # fmt: skip
        """The same as arrays, [N] each, for those who need no `Verdict`: see `Verdicts`."""
        if rule not in self.manifest.rules:
            raise ScoringError(f"rule {rule!r} does not exist; allowed: {', '.join(self.rules)}.")
        accepted = admit(self.manifest, signals, subject=subject, accept=accept, unverified=unverified)
        values = signals.domain(self.manifest.signal.domain)
        lengths = self._lengths(signals, subject)
        score, valid = (
            self._online(values, lengths, debounce)
            if rule == "online"
            else score_rows(self._signal, values, self._count)
        )
        said = Said(rule, self.bundle.digest, accepted, 1 if debounce is None else debounce.alarms, self._step)
        return self._judge.verdicts(signals, values, lengths, score, valid, said)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that the guard has."""
        return tuple(rule for rule in ("final", "online", "request") if rule in self.manifest.rules)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of requests with thresholds of their own; empty = one threshold for all."""
        return () if isinstance(self.manifest, Manifest) else self.manifest.groups

    def alarms(
        self, scored: Scored, rule: Rule = "online", groups: Sequence[str | None] | None = None
    ) -> NDArray[np.bool_]:
        """Which generations alarm by what `score_final` or `score_prefix` said of them: [B] bool.

        Args:
            scored: score and valid.
            rule: of the guard.
            groups: one per generation, where the guard has thresholds by group; None = not named.
        """
        score, valid = scored
        return self._judge.alarms(score, valid, groups, rule)

    def alarm(self, scored: Scored, rule: Rule, group: str | None = None) -> bool:
        """`alarms` of one generation, of which `score_final` or `score_prefix` said this, [1] or [1, K]."""
        score, valid = scored
        return self._judge.alarm(score, valid, group, rule)

    def debounced(self, scores: NDArray[np.float32], debounce: Debounce | None) -> NDArray[np.float32]:
        """Scores of the online rule at every cell, -inf where there is none: [B, T] float32 -> [B, T], debounced.

        Of a guard with K parts, [B, T, K]; a part that reads the request alone says the same at every cell, so it is
        left as it is.
        """
        if debounce is None:
            return scores
        if isinstance(self.manifest, Manifest):
            return debounced(scores, debounce.alarms, debounce.of)
        found = scores.copy()
        for k, name in enumerate(self.manifest.part_names):
            if name not in self.manifest.request_parts:
                found[:, :, k] = debounced(scores[:, :, k], debounce.alarms, debounce.of)
        return found

    # -- streaming -------------------------------------------------------------------------------------------

    def score_final(self, signals: NDArray[np.float32]) -> Scored:
        """Finished generations [B, T, C] float32 in the bundle's domain -> score [B] float32, valid [B] bool.

        Of a guard with K parts, both are [B, K]. Nothing else is checked.

        Raises:
            ScoringError: not float32 [B, T, C].
        """
        if signals.shape[1:] != self._shape or signals.dtype != np.float32:
            raise self._misfit(signals)
        return score_once(self._signal, {"signals": signals}, self._count)

    def growing(self, signals: NDArray[np.float32]) -> GrowingSignals:
        """One running generation, [1, T, C] float32 without gaps in memory: `score_prefix` reads it where it lies.

        Raises:
            ScoringError: not float32 [1, T, C].
        """
        if signals.shape != (1, *self._shape) or signals.dtype != np.float32:
            raise self._misfit(signals)
        return GrowingSignals(self._prefix, signals, self._count)

    def score_prefix(self, signals: NDArray[np.float32] | GrowingSignals, lengths: NDArray[np.int64]) -> Scored:
        """Running generations [B, T, C] float32, the first `lengths` [B] int64 cells of each known.

        Returns the standardised score [B] float32, unitless, and valid [B] bool. Cells at and beyond a row's length are
        never read. `alarms` says which of them are above their threshold. Of a guard with K parts, both are [B, K]. Of
        `growing` signals, with their own `length`, the next call writes into the same arrays.

        Raises:
            ScoringError: not float32 [B, T, C] with int64 [B].
        """
        if isinstance(signals, GrowingSignals):
            return signals.score()
        if signals.shape[1:] != self._shape or signals.dtype != np.float32:
            raise self._misfit(signals)
        if lengths.shape != signals.shape[:1] or lengths.dtype != np.int64:
            raise ScoringError(f"lengths: {lengths.dtype} {list(lengths.shape)}, allowed: int64 [{len(signals)}].")
        return score_once(self._prefix, {"signals": signals, "length": lengths}, self._count)

    # -- internals -------------------------------------------------------------------------------------------

    def _step(self, cell: int) -> int | None:
        """The step that closed a cell, counted from 0; None if the grid counts tokens."""
        grid = self.manifest.grid
        if not isinstance(grid, dict) or grid.get("mapping") != "step":
            return None
        budget, cells = grid["budget"], grid["cells"]
        assert isinstance(budget, int) and isinstance(cells, int)  # As the manifest was checked.
        return -(-(cell + 1) * budget // cells) - 1

    def _misfit(self, signals: NDArray[Any]) -> ScoringError:
        return ScoringError(
            f"signals: {signals.dtype} {list(signals.shape)}, the guard takes float32 [B, {self._shape[0]}, "
            f"{self._shape[1]}]. Lay the signals on the guard's step grid and tapped layers."
        )

    def _lengths(self, signals: Signals, subject: str) -> NDArray[np.int64]:
        cells = self._shape[0]
        if signals.lengths is None:
            return self._all_cells.repeat(len(signals))
        lengths = np.asarray(signals.lengths, dtype=np.int64)
        if lengths.shape != (len(signals),) or ((lengths < 0) | (lengths > cells)).any():
            raise ScoringError(
                f"{subject}: lengths must be {len(signals)} numbers from 0 to {cells}, found {lengths.tolist()[:8]}. "
                "A length is the number of cells filled so far."
            )
        return lengths

    def _online(self, values: NDArray[Any], lengths: NDArray[np.int64], debounce: Debounce | None) -> Scored:
        """[N, T, C] signals -> [N, T] debounced scores, -inf where a cell has none, and whether it has one; [N, T, K]
        of a guard with K parts."""  # fmt: skip
        score, valid = score_prefixes(self._prefix, values, self._count, lengths)
        return self.debounced(np.where(valid, score, np.float32(-np.inf)), debounce), valid


def load_graphs(bundle: Bundle, names: Collection[str]) -> dict[str, RunGraph]:
    """Sessions of the named graphs, with the edges the manifest promises.

    Raises:
        BundleError: a graph that is not allowed, or one of the tier `python` that nobody vouched for and that fails in
            a process with limits.
    """
    tier = bundle.manifest.tier
    if tier == "python" and not bundle.trusted:
        trial(bundle, names)
    return {
        name: load(bundle.graph(name), f"{bundle.path}/{name}.onnx", bundle.manifest.graphs[name], tier)
        for name in names
    }


def trial(bundle: Bundle, names: Collection[str]) -> None:
    """See `sri_sdk.scoring.trial`, which most processes never need."""
    from sri_sdk.scoring.trial import trial

    trial(bundle, names)
