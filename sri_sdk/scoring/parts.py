"""From the scores of several parts to one verdict: format 2, as docs/bundles.md has it.

Every part has thresholds of its own and is judged by itself. A generation is flagged if any part is, and clear only if
all of them are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.guard_graphs import INVALID_SCORE
from sri_sdk.bundle.manifest_v2 import ALL, Manifest2
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import WITH_PARTS, Ended, PartVerdict, Rule, Status, Verdict
from sri_sdk.scoring.reasons import INCOMPLETE, NOT_FINITE, OUT_OF_RANGE, REQUEST_MISSING, UNKNOWN_GROUP, UNSCORABLE


@dataclass(frozen=True, slots=True)
class _Judged:
    """One part of one generation, before it is a verdict."""

    verdict: PartVerdict
    alarm: int | None
    """Cell of its first alarm, online; else 0. None = it does not alarm."""
    why: str | None
    """Why it could not be judged completely; None = it could. A part may alarm all the same."""
    weighed: float
    """Its p-value times alpha over its share; 2 where it has none."""


class PartsJudge:
    """Thresholds of a guard of format 2, and the rules by which scores become verdicts."""

    def __init__(self, manifest: Manifest2) -> None:
        self._manifest = manifest
        self._low, self._high = manifest.ranges
        names = manifest.column_names
        self._columns = {p.name: [names.index(c) for c in p.columns] for p in manifest.parts}
        self._request = names.index(manifest.signal.request.name) if manifest.signal.request else None
        self.thresholds: dict[str, dict[str, dict[str, Threshold]]] = {
            rule: {part: each.thresholds() for part, each in entry.parts.items()}
            for rule, entry in manifest.rules.items()
        }
        """Rule -> part -> group -> threshold."""

    def alarms(
        self, score: NDArray[np.float32], valid: NDArray[np.bool_], groups: Sequence[str | None], rule: Rule
    ) -> NDArray[np.bool_]:
        """Which generations alarm, by `score` [N, K] float32 and `valid` [N, K] bool: [N] bool."""
        found = np.zeros(len(score), dtype=np.bool_)
        for row, group in enumerate(groups):
            for k, name in enumerate(self._manifest.part_names):
                if name in self.thresholds[rule]:
                    threshold, _ = self._threshold(rule, name, group)
                    found[row] |= valid[row, k] and float(score[row, k]) > threshold.value
        return found

    def verdict(
        self, request_id: str, values: NDArray[np.float32], length: int, group: str | None, rule: Rule,
        score: NDArray[np.float32], valid: NDArray[np.bool_], missing: Mapping[str, str | None], needed: int = 1,
    ) -> Verdict:  # fmt: skip
        """The verdict on one generation.

        Args:
            request_id: its id.
            values: [T, C] float32 signal in the guard's domain.
            length: cells that are known.
            group: as the caller names it; None = not named.
            rule: of the guard.
            score: [K] float32; online [T, K].
            valid: the same shape.
            missing: column -> code of why it has no number.
            needed: alarms it takes under the rule `online`; `score` is debounced already.
        """
        entry, order = self._manifest.rules[rule], self._manifest.part_names
        judged = {
            name: self._part(name, values, length, group, rule, score[..., k], valid[..., k], missing, needed)
            for k, name in enumerate(order)
            if name in entry.parts
        }
        flagged = sorted((j for j in judged.values() if j.alarm is not None), key=lambda j: j.weighed)
        blind = [j.why for j in judged.values() if j.why is not None]
        unknown = bool(self._manifest.groups) and group not in self._manifest.groups
        status: Status = "flagged" if flagged else "unmonitored" if blind else "clear"
        deciding = flagged[0] if flagged else min(judged.values(), key=lambda j: j.weighed)
        scored = status != "unmonitored"
        reasons = [*(str(j.verdict.reason) for j in flagged), *blind, *([UNKNOWN_GROUP] if unknown else [])]
        first = min((j.alarm for j in flagged if j.alarm is not None), default=None)
        threshold = (deciding if scored else next(iter(judged.values()))).verdict.threshold
        return Verdict(
            request_id=request_id,
            status=status,
            reasons=tuple(dict.fromkeys(reasons)),
            score=deciding.verdict.score if scored else None,
            threshold=threshold,
            p_value=min(1.0, deciding.weighed) if scored else None,
            first_alarm_step=first if rule == "online" else None,
            rule=rule,
            judged_steps=self._manifest.horizon.steps if self._manifest.horizon and scored else None,
            ended=self._ended(values, length, rule),
            group=group if self._manifest.groups and not unknown else None,
            parts=tuple(j.verdict for j in judged.values()),
            schema=WITH_PARTS,
        )

    def _part(
        self, name: str, values: NDArray[np.float32], length: int, group: str | None, rule: Rule,
        score: NDArray[np.float32], valid: NDArray[np.bool_], missing: Mapping[str, str | None], needed: int,
    ) -> _Judged:  # fmt: skip
        """One part: its signal [T, C], its score [] (online [T]) and whether each is valid."""
        threshold, share = self._threshold(rule, name, group)
        cells = self._manifest.signal.cells
        alone = name in self._manifest.request_parts
        alarm: int | None
        if rule == "online":
            due = valid & (np.arange(cells) < length)
            above = due & (score > np.float64(threshold.value)) & (score != np.float32(INVALID_SCORE))
            alarm = int(above.argmax()) if above.any() else None
            # Fewer cells than it takes alarms are no generation that is clear.
            enough = length >= (1 if alone else needed)
            number = float(np.where(due, score, -np.inf).max()) if due.any() and enough else None
            whole = bool(due[:length].all()) and enough
        else:
            known = rule == "request" or alone or length == cells
            whole = known and bool(valid)
            number = float(score) if whole else None
            alarm = 0 if whole and number is not None and number > threshold.value else None
        why = None if whole else self._why(name, values, length, rule, missing, needed)
        status: Status = "flagged" if alarm is not None else "unmonitored" if why else "clear"
        number = None if status == "unmonitored" else number
        p_value = None if number is None else float(threshold.p_values(np.array([number]))[0])
        reason = next(p.reason for p in self._manifest.parts if p.name == name) if status == "flagged" else why
        verdict = PartVerdict(name, status, number, threshold.value, p_value, reason)
        weighed = 2.0 if p_value is None else p_value * (self._manifest.rules[rule].alpha / share)
        return _Judged(verdict, alarm, why, weighed)

    def _threshold(self, rule: Rule, part: str, group: str | None) -> tuple[Threshold, float]:
        """The threshold of a group, the largest one where the group is not known, and the part's share of alpha."""
        thresholds = self.thresholds[rule][part]
        wanted = group if self._manifest.groups else ALL
        if wanted not in thresholds:
            wanted = min(thresholds, key=lambda name: (-thresholds[name].value, name))
        assert wanted is not None
        return thresholds[wanted], thresholds[wanted].alpha

    def _why(
        self, name: str, values: NDArray[np.float32], length: int, rule: Rule, missing: Mapping[str, str | None],
        needed: int,
    ) -> str:  # fmt: skip
        """Code of why a part could not be judged completely, of a signal [T, C]."""
        cells, alone = self._manifest.signal.cells, name in self._manifest.request_parts
        few = rule == "online" and length < (1 if alone else needed)
        if few or (rule == "final" and length < cells and not alone):
            return INCOMPLETE
        columns = self._columns[name]
        if self._request in columns and np.isnan(values[0, self._request]):
            return missing.get(self._manifest.column_names[-1]) or REQUEST_MISSING
        seen = values[: length if rule == "online" else cells, columns]
        if not np.isfinite(seen).all():
            return NOT_FINITE
        inside = (seen > self._low[columns]) & (seen < self._high[columns])
        return UNSCORABLE if inside.all() else OUT_OF_RANGE

    def _ended(self, values: NDArray[np.float32], length: int, rule: Rule) -> Ended | None:
        """How a generation [T, C] ended; None = not known."""
        ended, cells = self._manifest.ended, self._manifest.signal.cells
        if ended is None or length < cells or rule == "request":
            return None
        column = self._manifest.column_names.index(ended.column)
        last = values[cells - 1, column]
        if not self._low[column] < last < self._high[column]:
            return None
        return "refusing" if float(last) < ended.value else "complying"


def rows_of(signals_groups: Sequence[str | None] | None, count: int) -> Sequence[str | None]:
    """One group per generation; None = not named."""
    return (None,) * count if signals_groups is None else signals_groups


def missing_in(missing: Mapping[str, Sequence[str | None]] | None, row: int) -> dict[str, Any]:
    """Column -> code of why one generation has no number in it."""
    return {} if missing is None else {name: whys[row] for name, whys in missing.items()}
