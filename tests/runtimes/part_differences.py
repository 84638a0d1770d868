"""How far a reader's verdicts of schema 2 are from Python's, and whether they may be: part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest_v2 import Manifest2
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import REQUEST, Rule, Signals, Verdict
from sri_sdk.scoring.runtime import score_prefixes, score_rows
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.differences import EXACT, Differences
from tests.vectors.part_cases import threshold_of

LATER = "judged_steps", "ended", "group"
"""Fields of schema 2 that no rounding moves. The threshold is no such field: it is that of the part that decides."""
FLOATS = 1e-12
"""A product of doubles may be rounded otherwise."""


@dataclass(frozen=True)
class ExpectedParts:
    """What Python says of some signals under one rule."""

    rule: Rule
    manifest: Manifest2
    verdicts: tuple[Verdict, ...]
    unreadable: tuple[tuple[str | None, ...], ...]
    """[N, parts of the rule] why a part cannot be read to its end; worked out from the cells, not from verdicts."""
    closest: NDArray[np.float64]
    """[N, parts of the rule] distance to the threshold of the closest score that counts, in units of its room."""

    @classmethod
    def of(cls, scorer: Scorer, signals: Signals, rule: Rule) -> Self:
        """Of signals in the form the guard reads."""
        manifest = scorer.manifest
        assert isinstance(manifest, Manifest2)
        verdicts = tuple(scorer.score(signals, rule=rule))
        values, lengths = signals.domain(manifest.signal.domain), np.asarray(signals.lengths)
        places = [k for k, name in enumerate(manifest.part_names) if name in manifest.rules[rule].parts]
        found = [
            tuple(_why(manifest, k, row, int(length), rule) for k in places)
            for row, length in zip(values, lengths, strict=True)
        ]
        return cls(rule, manifest, verdicts, tuple(found), _closest(scorer, values, lengths, verdicts, places, rule))

    def kinds(self) -> dict[str, int]:
        """How many rows there are of each kind."""
        statuses = Counter(str(verdict.status) for verdict in self.verdicts)
        return {**statuses, "within a room of the threshold": int((self.closest.min(axis=1) <= 1).sum())}

    def differences(self, found: Sequence[dict[str, Any]]) -> Differences:
        """Of a reader's verdicts on the same rows."""
        assert len(found) == len(self.verdicts), f"{len(found)} verdicts of {len(self.verdicts)} rows"
        total = Differences()
        for row, verdict in enumerate(found):
            total += self._difference(row, verdict)
        return total

    def _difference(self, row: int, found: dict[str, Any]) -> Differences:
        ours = self.verdicts[row].to_dict()
        pairs = list(zip(ours["parts"], found["parts"], strict=False))
        alike = ours["status"] == found["status"] and all(a["status"] == b["status"] for a, b in pairs)
        near = bool(self.closest[row].min() <= 1)
        exact = [ours[name] == found[name] for name in (*EXACT, *LATER) if name != "threshold"]
        exact += [list(ours) == list(found), len(ours["parts"]) == len(found["parts"])]
        exact += [a[name] == b[name] for a, b in pairs for name in ("name", "threshold")]
        exact += [list(a) == list(b) for a, b in pairs]
        total = Differences(
            rows=1,
            in_band=not alike and near,
            flipped=not alike and not near,
            # Which part decides, and the order of alarms, follow from p-values.
            reasons=alike and not near and not self._same_reasons(ours, found),
            steps=alike and not near and ours["first_alarm_step"] != found["first_alarm_step"],
            p_values=alike and not self._product_fits(found),
            others=not all(exact),
            believed=self._believed(row, found),
        )
        for a, b in pairs:
            if a["score"] is not None and b["score"] is not None:
                total += self._scores(row, a, b)
        return total

    def _same_reasons(self, ours: dict[str, Any], found: dict[str, Any]) -> bool:
        parts = [a["reason"] == b["reason"] for a, b in zip(ours["parts"], found["parts"], strict=False)]
        return all(parts) and ours["reasons"] == found["reasons"]

    def _scores(self, row: int, ours: dict[str, Any], found: dict[str, Any]) -> Differences:
        threshold = self._threshold(row, ours["name"])
        gap, room = abs(found["score"] - ours["score"]), float(threshold.allowed(np.array([ours["score"]]))[0])
        ends = [float(threshold.p_values(np.float32([ours["score"] + way * room]))[0]) for way in (1, -1)]
        spread = float(np.quantile(threshold.scores, 0.99) - np.median(threshold.scores))
        return Differences(
            gap=gap,
            in_tolerances=gap / threshold.tolerance,
            in_spreads=gap / spread,
            in_rooms=gap / room,
            p_values=not ends[0] <= found["p_value"] <= ends[1],
        )

    def _product_fits(self, found: dict[str, Any]) -> bool:
        """Whether score, threshold and p-value of a generation are those of the part that it says decided."""
        if found["score"] is None or found["p_value"] is None:
            return found["status"] == "unmonitored" and found["score"] is found["p_value"] is None
        rule, deciding = self.manifest.rules[self.rule], []
        for part in found["parts"]:
            if part["p_value"] is not None and (part["status"] == "flagged" or found["status"] == "clear"):
                weight = rule.alpha / rule.parts[part["name"]].alpha
                deciding.append((part["p_value"] * weight, part["score"], part["threshold"]))
        if not deciding:
            return False
        product, score, threshold = min(deciding, key=lambda each: each[0])
        same = (score, threshold) == (found["score"], found["threshold"])
        return same and abs(min(1.0, product) - found["p_value"]) <= FLOATS

    def _threshold(self, row: int, part: str) -> Threshold:
        return threshold_of(self.manifest, self.rule, part, self.verdicts[row].group)

    def _believed(self, row: int, found: dict[str, Any]) -> bool:
        # What was seen before may have raised an alarm, which stands.
        allowed = {"unmonitored", "flagged"} if self.rule == "online" else {"unmonitored"}
        for why, part in zip(self.unreadable[row], found["parts"], strict=False):
            if why is None:
                continue
            if part["status"] not in allowed or why not in found["reasons"] or found["status"] == "clear":
                return True
            if part["status"] == "unmonitored" and part["reason"] != why:
                return True
        return False


def _why(manifest: Manifest2, k: int, row: NDArray[np.float32], length: int, rule: Rule) -> str | None:
    cells, names = manifest.signal.cells, list(manifest.column_names)
    part = manifest.parts[k]
    columns = [names.index(name) for name in part.columns]
    alone = part.columns == (REQUEST,)
    if (length == 0 and rule == "online") or (rule == "final" and length < cells and not alone):
        return "incomplete_signal"
    if REQUEST in part.columns and np.isnan(row[0, names.index(REQUEST)]):
        return "request_missing"
    seen = row[: length if rule == "online" else cells, columns]
    if not np.isfinite(seen).all():
        return "non_finite_signal"
    low, high = (np.float32([getattr(manifest.signal.columns[c], end) for c in columns]) for end in ("low", "high"))
    return None if ((seen > low) & (seen < high)).all() else "signal_out_of_range"


def _closest(
    scorer: Scorer, values: NDArray[Any], lengths: NDArray[np.int64], verdicts: Sequence[Verdict],
    places: Sequence[int], rule: Rule,
) -> NDArray[np.float64]:  # fmt: skip
    manifest = scorer.manifest
    assert isinstance(manifest, Manifest2)
    count = len(manifest.parts)
    if rule == "online":
        scores, valid = score_prefixes(scorer._prefix, values, count)
        due = valid & (np.arange(values.shape[1]) < lengths[:, None])[..., None]
    else:
        once = score_rows(scorer._signal, values, count)
        scores, due = once[0][:, None], once[1][:, None]
    apart = np.full((len(values), len(places)), np.inf)
    groups = {verdict.group for verdict in verdicts}
    for at, k in enumerate(places):
        for group in groups:
            rows = np.array([verdict.group == group for verdict in verdicts])
            threshold = threshold_of(manifest, rule, manifest.part_names[k], group)
            own = scores[rows, :, k]
            room = threshold.allowed(own.ravel()).reshape(own.shape)
            distance = np.where(due[rows, :, k], np.abs(own.astype(np.float64) - threshold.value) / room, np.inf)
            apart[rows, at] = distance.min(axis=1)
    return apart
