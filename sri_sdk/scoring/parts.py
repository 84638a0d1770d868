"""From the scores of several parts to one verdict: format 2, as docs/bundles.md has it.

Every part has thresholds of its own and is judged by itself. A generation is flagged if any part is, and clear only if
all of them are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest_v2 import ALL, Manifest2
from sri_sdk.bundle.ranges import INVALID_SCORE
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import Ended, Rule, Signals
from sri_sdk.scoring.part_verdicts import Judged, PartVerdicts
from sri_sdk.scoring.reasons import REQUEST_MISSING
from sri_sdk.scoring.verdicts import CLEAR, FLAGGED, UNMONITORED, Said, Verdicts
from sri_sdk.scoring.why import TOO_FEW, WHY, why_not


@dataclass(frozen=True, slots=True)
class _Rows:
    """N generations that are judged."""

    values: NDArray[np.float32]
    """[N, T, C] signals in the guard's domain."""
    lengths: NDArray[np.int64]
    """[N] cells that are known."""
    groups: NDArray[np.int64]
    """[N]: place of each one's group among the guard's; -1 = none of them."""
    missing: Mapping[str, Sequence[str | None]]
    """Column -> per generation: code of why it has no number."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """A part's thresholds under one rule, by place of the group among the guard's.

    The last one, which a place of -1 finds, is the largest: it counts for those whose group is not known.
    """

    thresholds: Sequence[Threshold]
    values: NDArray[np.float64]
    """[G + 1]"""
    shares: NDArray[np.float64]
    """[G + 1]: the part's share of the rule's alpha."""

    @classmethod
    def of(cls, thresholds: Mapping[str, Threshold], groups: Sequence[str]) -> Self:
        """From thresholds by group."""
        largest = min(thresholds, key=lambda name: (-thresholds[name].value, name))
        ordered = [thresholds[name] for name in (*groups, largest)]
        return cls(ordered, np.array([x.value for x in ordered]), np.array([x.alpha for x in ordered]))


class PartsJudge:
    """Thresholds of a guard of format 2, and the rules by which scores become verdicts."""

    def __init__(self, manifest: Manifest2) -> None:
        self._manifest = manifest
        self._low, self._high = manifest.ranges
        names = manifest.column_names
        self._columns = {p.name: [names.index(c) for c in p.columns] for p in manifest.parts}
        self._request = names.index(manifest.signal.request.name) if manifest.signal.request else None
        self._reasons = {part.name: part.reason for part in manifest.parts}
        self._alone = frozenset(manifest.request_parts)
        self.thresholds: dict[str, dict[str, dict[str, Threshold]]] = {
            rule: {part: each.thresholds() for part, each in entry.parts.items()}
            for rule, entry in manifest.rules.items()
        }
        """Rule -> part -> group -> threshold."""
        self._limits = {
            rule: {part: _Limits.of(each, manifest.groups or (ALL,)) for part, each in parts.items()}
            for rule, parts in self.thresholds.items()
        }

    def alarms(
        self, score: NDArray[np.float32], valid: NDArray[np.bool_], groups: Sequence[str | None] | None, rule: Rule
    ) -> NDArray[np.bool_]:
        """Which generations alarm, by `score` [N, K] float32 and `valid` [N, K] bool: [N] bool."""
        found, places = np.zeros(len(score), dtype=np.bool_), self._places(groups, len(score))
        for k, name in enumerate(self._manifest.part_names):
            if name in self._limits[rule]:
                found |= valid[:, k] & (score[:, k] > self._limits[rule][name].values[places])
        return found

    def alarm(self, score: NDArray[np.float32], valid: NDArray[np.bool_], group: str | None, rule: Rule) -> bool:
        """Whether one generation of a group alarms, by `score` [1, K] float32 and `valid` [1, K] bool."""
        return bool(self.alarms(score, valid, (group,), rule)[0])

    def verdicts(
        self, signals: Signals, values: NDArray[np.float32], lengths: NDArray[np.int64], score: NDArray[np.float32],
        valid: NDArray[np.bool_], said: Said,
    ) -> Verdicts:  # fmt: skip
        """The verdicts on N generations.

        Args:
            signals: for their ids, groups, and why a column is missing.
            values: [N, T, C] float32 signals in the guard's domain.
            lengths: [N] cells that are known.
            score: [N, K] float32; of the rule `online` [N, T, K], debounced, -inf where there is none.
            valid: the same shape.
            said: what goes into all verdicts.
        """
        manifest, groups = self._manifest, self._places(signals.groups, len(values))
        rows = _Rows(values, lengths, groups, signals.missing or {})
        judged = [
            self._part(name, rows, score[..., k], valid[..., k], said)
            for k, name in enumerate(manifest.part_names)
            if name in self._limits[said.rule]
        ]
        unknown = groups < 0 if manifest.groups else np.zeros(len(values), dtype=np.bool_)
        named = [*manifest.groups, None] if manifest.groups else [None]
        return PartVerdicts(
            signals.ids, judged, unknown, [named[place] for place in groups.tolist()],
            self._ended(values, lengths, said.rule), manifest.horizon.steps if manifest.horizon else None, said,
        )  # fmt: skip

    def _part(self, name: str, rows: _Rows, score: NDArray[np.float32], valid: NDArray[np.bool_], said: Said) -> Judged:
        """One part: its score [N] (online [N, T]) and whether each is valid."""
        rule, alone, cells = said.rule, name in self._alone, self._manifest.signal.cells
        limits = self._limits[rule][name]
        limit, share = limits.values[rows.groups], limits.shares[rows.groups]
        # Fewer cells than it takes alarms are no generation that is clear.
        needed = 1 if alone else said.needed
        if rule == "online":
            enough = rows.lengths >= needed
            above = (score > limit[:, None]) & (score != np.float32(INVALID_SCORE))
            alarm = np.where(above.any(axis=1), above.argmax(axis=1), -1)
            number, has_number = score.max(axis=1), valid.any(axis=1) & enough
            whole = (valid.sum(axis=1) == rows.lengths) & enough
        else:
            known = np.True_ if rule == "request" or alone else rows.lengths == cells
            number, whole = score, valid & known
            has_number = whole
            alarm = np.where(whole & (number > limit), 0, -1)
        why = self._why(name, rows, whole, rule, needed)
        codes = np.where(whole, np.int8(CLEAR), np.int8(UNMONITORED))
        codes[alarm >= 0] = FLAGGED
        has_number = has_number & (codes != UNMONITORED)
        p_values = np.full(len(codes), np.nan)
        for place in np.unique(rows.groups[has_number]):
            same = has_number & (rows.groups == place)
            p_values[same] = limits.thresholds[place].p_values(number[same])
        weighed = np.where(has_number, p_values * (self._manifest.rules[rule].alpha / share), 2.0)
        return Judged(name, self._reasons[name], codes, alarm, why, number, limit, p_values, weighed)

    def _why(
        self, name: str, rows: _Rows, whole: NDArray[np.bool_], rule: Rule, needed: int
    ) -> list[str | None]:  # fmt: skip
        """Per generation: code of why a part could not judge it completely; None where it is `whole` [N]."""
        cells, lengths, columns = self._manifest.signal.cells, rows.lengths, self._columns[name]
        if rule != "online":
            lengths, needed = np.full_like(lengths, cells), cells if rule == "final" and name not in self._alone else 0
        few, bounds = rows.lengths < needed, (self._low[columns], self._high[columns])
        found = why_not(rows.values, lengths, few, whole, bounds, columns)
        why = [WHY[code] for code in found.tolist()]
        if self._request in columns:
            whys = rows.missing.get(self._manifest.column_names[-1])
            for row in np.flatnonzero((found > TOO_FEW) & np.isnan(rows.values[:, 0, self._request])).tolist():
                why[row] = (whys and whys[row]) or REQUEST_MISSING
        return why

    def _ended(
        self, values: NDArray[np.float32], lengths: NDArray[np.int64], rule: Rule
    ) -> list[Ended | None]:  # fmt: skip
        """How each generation [N, T, C] ended; None = not known."""
        ended, cells = self._manifest.ended, self._manifest.signal.cells
        if ended is None or rule == "request":
            return [None] * len(values)
        column = self._manifest.column_names.index(ended.column)
        last = values[:, cells - 1, column]
        known = (lengths >= cells) & (self._low[column] < last) & (last < self._high[column])
        low = known & (last < np.float64(ended.value))
        ends: tuple[Ended | None, ...] = (None, "complying", "refusing")
        return [ends[end] for end in (known.astype(np.int8) + low).tolist()]

    def _places(self, groups: Sequence[str | None] | None, count: int) -> NDArray[np.int64]:
        """[N] int64: place of each generation's group among the guard's; 0 where there is one threshold for all."""
        known = self._manifest.groups
        if not known:
            return np.zeros(count, dtype=np.int64)
        if groups is None:
            return np.full(count, -1, dtype=np.int64)
        place: dict[str | None, int] = {name: at for at, name in enumerate(known)}
        return np.array([place.get(name, -1) for name in groups], dtype=np.int64)
