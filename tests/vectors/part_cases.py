"""Generations that a reader of format 2 could get wrong, and the verdicts they must get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest_v2 import ALL, Manifest2
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import REQUEST, PartVerdict, Rule, Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from tests.vectors.parts import PartsGuard, made_up

Floats = NDArray[np.float32]
LEFT_OUT = ("steps_seen", "steps_expected", "bundle", "accepted")
"""Fields of a verdict that say nothing of its row."""


def part_cases(bundle: Bundle, guard: PartsGuard, seed: int) -> dict[str, Any]:
    """The file `cases.json` of a bundle."""
    scorer, manifest = Scorer.open(bundle.path), bundle.manifest
    assert isinstance(manifest, Manifest2)
    signals = edge_cases(manifest, guard, seed)
    return {
        "tier": manifest.tier,
        "ids": signals.ids,
        "signals": PackedArray.pack(signals.domain(guard.domain)).model_dump(mode="json"),
        "lengths": PackedArray.pack(np.asarray(signals.lengths)).model_dump(mode="json"),
        "groups": signals.groups,
        **{rule: [_expected(manifest, found) for found in scorer.score(signals, rule=rule)] for rule in scorer.rules},
    }


# -- verdicts --------------------------------------------------------------------------------------------------


def _expected(manifest: Manifest2, verdict: Verdict) -> dict[str, Any]:
    rule = manifest.rules[verdict.rule]
    parts = [{**part.to_dict(), **_room(manifest, verdict, part)} for part in verdict.parts]
    found = {name: value for name, value in verdict.to_dict().items() if name not in LEFT_OUT}
    found["parts"] = parts
    if verdict.score is None:
        return found
    deciding = [
        one for one, each in zip(parts, verdict.parts, strict=True)
        if each.p_value is not None and (each.score, each.threshold) == (verdict.score, verdict.threshold)
        and verdict.p_value == min(1.0, each.p_value * (rule.alpha / rule.parts[each.name].alpha))
    ]  # fmt: skip
    first = deciding[0]
    weight = rule.alpha / rule.parts[first["name"]].alpha
    p_range = [min(1.0, p * weight) for p in first["p_range"]]
    return {**found, "tolerance": first["tolerance"], "p_range": p_range}


def _room(manifest: Manifest2, verdict: Verdict, part: PartVerdict) -> dict[str, Any]:
    """How far the score of a part may be from ours, and the p-values that this allows."""
    if part.score is None:
        return {}
    threshold = threshold_of(manifest, verdict.rule, part.name, verdict.group)
    room = float(threshold.allowed(np.float32([part.score]))[0])
    ends = threshold.p_values(np.float32([part.score + room, part.score - room]))
    return {"tolerance": room, "p_range": ends.tolist()}


def threshold_of(manifest: Manifest2, rule: Rule, part: str, group: str | None) -> Threshold:
    """The one that counts; `group` as a verdict names it."""
    thresholds = manifest.rules[rule].parts[part].thresholds()
    name = group if manifest.groups else ALL
    return thresholds[name or min(thresholds, key=lambda one: (-thresholds[one].value, one))]


# -- signals ---------------------------------------------------------------------------------------------------


@dataclass
class _Rows:
    """Rows to be, one by one."""

    guard: PartsGuard
    ids: list[str]
    values: list[Floats]
    lengths: list[int]
    groups: list[str | None]

    def add(
        self, name: str, like: Floats, change: Callable[[Floats], object] = lambda row: None, *,
        length: int | None = None, group: str | None = None,
    ) -> None:  # fmt: skip
        """One row [T, C], changed; of the last group unless one is named."""
        row = like.copy()
        change(row)
        self.ids.append(name)
        self.values.append(row)
        self.lengths.append(self.guard.cells if length is None else length)
        self.groups.append(group or (self.guard.groups[-1] if self.guard.groups else None))


def edge_cases(manifest: Manifest2, guard: PartsGuard, seed: int) -> Signals:
    """Rows of every kind, each with its own id."""
    plain, attack, asked, both = (
        made_up(guard, 8, seed + k, dip=dip, harm=harm).domain(guard.domain)
        for k, (dip, harm) in enumerate([(0.0, 0.0), (4.0, 0.0), (0.0, 5.0), (4.0, 5.0)])
    )
    rows, cells, last = _Rows(guard, [], [], [], []), guard.cells, guard.cells - 1
    for i in range(3):
        rows.add(f"harmless-{i}", plain[i])
    rows.add("attack", attack[0])
    rows.add("harmful-request", asked[0])
    rows.add("harmful-request-and-attack", both[0])
    _unreadable(rows, manifest, plain, attack)
    if REQUEST in guard.columns:
        _requests(rows, plain, attack, asked)
    if len(guard.columns) > 1:
        _ends(rows, manifest, plain)
    rows.add("nothing-yet", plain[4], _beyond(0), length=0)
    rows.add("nothing-yet-harmful-request", asked[2], _beyond(0), length=0)
    rows.add("one-cell", plain[5], _beyond(1), length=1)
    rows.add("cut-harmful-request", asked[3], _beyond(last), length=last)
    rows.add("attack-still-running", attack[3], _beyond(last), length=last)
    rows.add("attack-at-the-end", np.concatenate([plain[6][:-1], both[5][cells // 2 :][:1]]))
    for group in ("xx", "all", "", *guard.groups):
        rows.add(f"group-{group or 'empty'}", asked[4], group=group)
    rows.groups[rows.ids.index("group-empty")] = ""
    rows.add("no-group", plain[7])
    rows.groups[-1] = None
    grouped = tuple(rows.groups) if guard.groups else None
    values = np.stack(rows.values)
    return Signals(
        tuple(rows.ids), values, values, manifest.fingerprint, np.array(rows.lengths), guard.columns, grouped
    )


def _beyond(length: int) -> Callable[[Floats], object]:
    """Nothing is known from cell `length` on, but for the request, which stands in every cell."""

    def change(row: Floats) -> None:
        row[length:, : row.shape[1] - 1] = np.nan

    return change


def _put(where: Any, column: int, value: float) -> Callable[[Floats], object]:
    def change(row: Floats) -> None:
        row[where, column] = value

    return change


def _unreadable(rows: _Rows, manifest: Manifest2, plain: Floats, attack: Floats) -> None:
    """Each column in turn holds what cannot be read, or just can."""
    middle = manifest.signal.cells // 2
    for column, entry in enumerate(manifest.signal.columns):
        low, high = np.float32(entry.low), np.float32(entry.high)
        # A request stands in every cell.
        where = slice(None) if entry.kind == REQUEST else middle
        for name, value in {
            "infinity": np.inf, "minus-infinity": -np.inf, "zero": 0.0, "far-above": 1e30, "far-below": -1e30,
            "at-the-lower-bound": low, "at-the-upper-bound": high,
            "just-inside": np.nextafter(low, np.float32(0)),
        }.items():  # fmt: skip
            rows.add(f"{entry.name}-{name}", plain[column], _put(where, column, float(value)))
        if entry.kind != REQUEST:
            rows.add(f"{entry.name}-nan", plain[column], _put(middle, column, np.nan))
            rows.add(f"attack-then-{entry.name}-nan", attack[column], _put(-1, column, np.nan))


def _requests(rows: _Rows, plain: Floats, attack: Floats, asked: Floats) -> None:
    """The request is missing, or is not one number."""
    rows.add("no-request", plain[1], _put(slice(None), -1, np.nan))
    rows.add("attack-no-request", attack[1], _put(slice(None), -1, np.nan))
    rows.add(
        "attack-no-request-cut", attack[2], lambda row: _beyond(1)(row) or _put(slice(None), -1, np.nan)(row), length=1
    )
    rows.add("request-missing-in-one-cell", plain[2], _put(1, -1, np.nan))
    rows.add("request-missing-in-the-first-cell", asked[1], _put(0, -1, np.nan))
    rows.add("request-out-of-range-in-the-last-cell", plain[3], _put(-1, -1, 1e30))


def _ends(rows: _Rows, manifest: Manifest2, plain: Floats) -> None:
    """The last cell of the column that says how a generation ended."""
    ended = manifest.ended
    column = 0 if ended is None else manifest.column_names.index(ended.column)
    value = np.float32(0.5 if ended is None else ended.value)
    for name, last in {
        "at-the-value": value, "just-below": np.nextafter(value, np.float32(-1)), "unknown": np.nan, "beyond": 1e30,
    }.items():  # fmt: skip
        rows.add(f"ends-{name}", plain[0], _put(-1, column, float(last)))
