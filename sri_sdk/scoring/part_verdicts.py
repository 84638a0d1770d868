"""Verdicts of guards with parts, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import WITH_PARTS, Ended, PartVerdict, Verdict
from sri_sdk.scoring.bulk import in_bulk
from sri_sdk.scoring.reasons import UNKNOWN_GROUP
from sri_sdk.scoring.verdicts import CLEAR, FLAGGED, STATUSES, UNMONITORED, Said, Verdicts


@dataclass(frozen=True, slots=True)
class Judged:
    """One part of N generations."""

    name: str
    reason: str
    """Code of its alarms."""
    codes: NDArray[np.int8]
    """[N], places in `STATUSES`."""
    alarm: NDArray[np.int64]
    """[N]: cell of the first alarm, online; else 0. -1 = it does not alarm."""
    why: list[str | None]
    """N: why it could not be judged completely; None = it could. A part may alarm all the same."""
    score: NDArray[np.float32]
    """[N]; meaningless where there is no p-value."""
    threshold: NDArray[np.float64]
    """[N]"""
    p_value: NDArray[np.float64]
    """[N], NaN where nothing could be scored."""
    weighed: NDArray[np.float64]
    """[N]: its p-value times alpha over its share; 2 where it has none."""

    def verdicts(self, rows: slice) -> list[PartVerdict]:
        """Of some generations."""
        codes, p_values = self.codes[rows].tolist(), _or_none(self.p_value[rows])
        why = self.why[rows]
        return in_bulk(
            PartVerdict,
            len(codes),
            {
                "status": [STATUSES[code] for code in codes],
                "score": _where(p_values, self.score[rows].tolist()),
                "threshold": self.threshold[rows].tolist(),
                "p_value": p_values,
                "reason": [self.reason if c == FLAGGED else w for c, w in zip(codes, why, strict=True)],
            },
            name=self.name,
        )


class PartVerdicts(Verdicts):
    """The verdicts of a guard with parts. `score` and `threshold` are those of the part that decided."""

    def __init__(
        self, ids: Sequence[str], parts: Sequence[Judged], unknown: NDArray[np.bool_], groups: Sequence[str | None],
        ended: Sequence[Ended | None], horizon: int | None, said: Said,
    ) -> None:  # fmt: skip
        """Decides.

        Args:
            ids: N generations.
            parts: those that the rule asks.
            unknown: [N], whose group the guard does not know.
            groups: N, whose thresholds counted; None = those of all, or of an unknown one.
            ended: N, how each ended.
            horizon: steps that the guard judges; None = all.
            said: what goes into all verdicts.
        """
        flagged = np.stack([part.alarm >= 0 for part in parts])
        blind = np.array([[why is not None for why in part.why] for part in parts]).reshape(flagged.shape)
        codes = np.where(blind.any(axis=0), np.int8(UNMONITORED), np.int8(CLEAR))
        codes[flagged.any(axis=0)] = FLAGGED
        super().__init__(ids, codes)
        self._parts, self._unknown, self._groups, self._ended = parts, unknown, groups, ended
        self._horizon, self._said, self._flagged = horizon, said, flagged
        self._weighed = np.stack([part.weighed for part in parts])
        # The first of the smallest; among those that alarm where one does.
        self._deciding = np.where(flagged.any(axis=0) & ~flagged, np.inf, self._weighed).argmin(axis=0)

    @property
    def p_values(self) -> NDArray[np.float64]:
        """See `Verdicts.p_values`: [N] float64."""
        return self._p_values(slice(None))

    def _p_values(self, rows: slice) -> NDArray[np.float64]:
        weighed, deciding = self._weighed[:, rows], self._deciding[rows]
        found = np.minimum(1.0, weighed[deciding, np.arange(len(deciding))])
        return np.where(self._codes[rows] == UNMONITORED, np.nan, found)

    def _make(self, rows: slice) -> list[Verdict]:
        codes, deciding = self._codes[rows].tolist(), self._deciding[rows].tolist()
        parts = list(zip(*(part.verdicts(rows) for part in self._parts), strict=True))
        unmonitored = [code == UNMONITORED for code in codes]
        # What could not be judged shows the threshold of the first part, and no score.
        shown = [0 if blind else place for blind, place in zip(unmonitored, deciding, strict=True)]
        decided = [each[place] for each, place in zip(parts, shown, strict=True)]
        columns: dict[str, Sequence[Any]] = {
            "request_id": self._ids[rows],
            "status": [STATUSES[code] for code in codes],
            "reasons": self._reasons(rows),
            "score": [None if blind else part.score for blind, part in zip(unmonitored, decided, strict=True)],
            "threshold": [part.threshold for part in decided],
            "p_value": _or_none(self._p_values(rows)),
            "judged_steps": [None if blind else self._horizon for blind in unmonitored],
            "ended": self._ended[rows],
            "group": self._groups[rows],
            "parts": parts,
        }
        said = self._said
        if said.rule == "online":
            columns["first_alarm_step"] = self._first_steps(rows)
        return in_bulk(
            Verdict, len(codes), columns, rule=said.rule, bundle=said.bundle, accepted=said.accepted, schema=WITH_PARTS
        )

    def _first_steps(self, rows: slice) -> list[int | None]:
        alarms = np.stack([part.alarm[rows] for part in self._parts])
        first = np.where(alarms < 0, np.iinfo(np.int64).max, alarms).min(axis=0).tolist()
        alarming: list[bool] = np.any(alarms >= 0, axis=0).tolist()
        return [self._said.step(cell) if alarm else None for cell, alarm in zip(first, alarming, strict=True)]

    def _reasons(self, rows: slice) -> list[tuple[str, ...]]:
        """Alarms, the most suspicious first; then why parts could not judge; then that the group is not known."""
        unknown, codes = self._unknown[rows], self._codes[rows]
        found: list[tuple[str, ...]] = [(UNKNOWN_GROUP,) if each else () for each in unknown.tolist()]
        for row in np.flatnonzero(codes != CLEAR).tolist():
            at = row + (rows.start or 0)
            order = sorted(np.flatnonzero(self._flagged[:, at]).tolist(), key=lambda k: float(self._weighed[k, at]))
            codes_of = [self._parts[k].reason for k in order]
            codes_of += [why for part in self._parts if (why := part.why[at]) is not None]
            found[row] = tuple(dict.fromkeys([*codes_of, *([UNKNOWN_GROUP] if unknown[row] else [])]))
        return found


def _or_none(numbers: NDArray[np.float64]) -> list[float | None]:
    """[N] float64 -> N numbers, None for NaN."""
    return [None if number != number else number for number in numbers.tolist()]


def _where(known: Sequence[object], found: Sequence[float]) -> list[float | None]:
    """None where nothing is known."""
    return [None if each is None else number for each, number in zip(known, found, strict=True)]
