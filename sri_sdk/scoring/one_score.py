"""From one score per generation to verdicts: guards of format 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest import Manifest
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.bulk import in_bulk
from sri_sdk.scoring.reasons import ABOVE
from sri_sdk.scoring.verdicts import FLAGGED, STATUSES, UNMONITORED, Said, Verdicts
from sri_sdk.scoring.why import WHY, why_not


class OneScoreJudge:
    """Thresholds of a guard of format 1, and the rules by which scores become verdicts."""

    def __init__(self, manifest: Manifest) -> None:
        self._cells, self._ranges = manifest.signal.cells, manifest.ranges
        self.thresholds: dict[str, Threshold] = {rule: entry.threshold() for rule, entry in manifest.rules.items()}
        """By rule."""

    def alarms(
        self, score: NDArray[np.float32], valid: NDArray[np.bool_], groups: Sequence[str | None] | None, rule: Rule
    ) -> NDArray[np.bool_]:
        """Which generations alarm, by `score` [N] float32 and `valid` [N] bool: [N] bool. `groups` say nothing here."""
        return np.asarray(valid & (score > np.float64(self.thresholds[rule].value)))

    def alarm(self, score: NDArray[np.float32], valid: NDArray[np.bool_], group: str | None, rule: Rule) -> bool:
        """`alarms` of one generation, by `score` [N] float32 and `valid` [N] bool, N = 1. `group` says nothing here."""
        # As float64, like the rows of `alarms`.
        return valid.item() and score.item() > self.thresholds[rule].value

    def verdicts(
        self, signals: Signals, values: NDArray[np.float32], lengths: NDArray[np.int64], score: NDArray[np.float32],
        valid: NDArray[np.bool_], said: Said,
    ) -> Verdicts:  # fmt: skip
        """The verdicts on N generations.

        Args:
            signals: for their ids.
            values: [N, T, C] float32 signals in the guard's domain.
            lengths: [N] cells that are known.
            score: [N] float32; of the rule `online` [N, T], debounced, -inf where there is none.
            valid: the same shape.
            said: what goes into all verdicts.
        """
        threshold, alarm = self.thresholds[said.rule], None
        # A float64: with a plain number numpy would compare as float32, and other readers do not.
        above, judged = score > np.float64(threshold.value), valid
        if said.rule == "online":
            alarm, score = above.argmax(axis=1), score.max(axis=1)
            # An alarm stands even if later cells cannot be read: it came before them.
            above = np.any(above, axis=1)
            # Fewer cells than it takes alarms are no generation that is clear.
            judged = (valid.sum(axis=1) == lengths) & (lengths >= said.needed)
        elif signals.lengths is not None:
            judged = valid & (lengths == self._cells)
        if np.count_nonzero(judged) == len(judged):  # Half the time of `all`.
            return OneScore(signals.ids, score, above, alarm, None, threshold, said)
        few = lengths < (said.needed if said.rule == "online" else max(said.needed, self._cells))
        why = why_not(values, lengths, few, judged, self._ranges)
        return OneScore(
            signals.ids, score, above if said.rule == "online" else above & judged, alarm, why, threshold, said
        )


class OneScore(Verdicts):
    """The verdicts of a guard with one score."""

    def __init__(
        self, ids: Sequence[str], score: NDArray[np.float32], above: NDArray[np.bool_],
        alarm: NDArray[np.int64] | None, why: NDArray[np.int8] | None, threshold: Threshold, said: Said,
    ) -> None:  # fmt: skip
        """Of what was judged.

        Args:
            ids: N generations.
            score: [N] float32; meaningless where a generation is unmonitored.
            above: [N], those that alarm.
            alarm: [N] int64, cell of the first alarm of those that alarm; None = the rule names none.
            why: [N] int8, places in `WHY`; None = all were judged completely.
            threshold: of the rule.
            said: what goes into all verdicts.
        """
        codes = above.astype(np.int8)  # CLEAR is 0, FLAGGED 1.
        if why is not None:
            codes[~above & (why > 0)] = UNMONITORED
        super().__init__(ids, codes)
        self._score, self._alarm, self._why = score, alarm, why
        self._threshold, self._said = threshold, said

    @property
    def p_values(self) -> NDArray[np.float64]:
        """See `Verdicts.p_values`: [N] float64."""
        return np.where(self._codes == UNMONITORED, np.nan, self._threshold.p_values(self._score))

    def _make(self, rows: slice) -> list[Verdict]:
        codes, said = self._codes[rows].tolist(), self._said
        score, p_value = self._score[rows].tolist(), self._threshold.p_values(self._score[rows]).tolist()
        columns: dict[str, Sequence[Any]] = {"request_id": self._ids[rows], "score": score, "p_value": p_value}
        columns["status"] = [STATUSES[code] for code in codes]
        if self._why is not None:
            for row in np.flatnonzero(self._codes[rows] == UNMONITORED).tolist():
                score[row] = p_value[row] = None
            columns["reasons"] = [
                tuple(filter(None, (ABOVE if code == FLAGGED else None, WHY[why])))
                for code, why in zip(codes, self._why[rows].tolist(), strict=True)
            ]
        elif FLAGGED in codes:
            columns["reasons"] = [(ABOVE,) if code else () for code in codes]
        if self._alarm is not None:
            columns["first_alarm_step"] = [
                said.step(cell) if code == FLAGGED else None
                for code, cell in zip(codes, self._alarm[rows].tolist(), strict=True)
            ]
        return in_bulk(
            Verdict, len(codes), columns, threshold=self._threshold.value, rule=said.rule, bundle=said.bundle,
            accepted=said.accepted,
        )  # fmt: skip
