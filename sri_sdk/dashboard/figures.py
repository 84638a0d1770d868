"""From numbers to what the page's script draws, as JSON types. A chart without script is its table, which stands below.

A chart is `kind`, `x` (seconds since 1970, or cells) and `series`: name, tone (a colour of the style sheet) and values
with null for gaps. `marks` are level lines. Names are made harmless here, since a canvas escapes nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sri_sdk.dashboard import words
from sri_sdk.dashboard.numbers import QUANTILES, bucket_of, buckets_of, quantile
from sri_sdk.observation import Trajectory
from sri_sdk.records import REQUEST, Status, Verdict
from sri_sdk.serve.store.observed import HourCount, LatencyCount, ScorePoint
from sri_sdk.text import visible

Chart = dict[str, Any]
MOST_REASONS = 6
"""Reasons with a colour of their own; the others are one."""


def alarms(hours: Iterable[HourCount], since_ms: int, until_ms: int, together: int, promises: Mapping[str, float]
) -> Chart:  # fmt: skip
    """Flagged traffic per bucket, and what harmless traffic alone would give at most.

    Args:
        hours: counts.
        since_ms: begin of the picture.
        until_ms: its end.
        together: hours of one bucket.
        promises: deployment -> largest false-alarm rate that its guard promises.
    """
    flagged: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    for each in hours:
        if each.kind == "traffic":
            at = bucket_of(each.hour_ms, together)
            flagged[at] += each.generations if each.status == "flagged" else 0
            if each.status in ("flagged", "clear"):
                expected[at] += promises.get(each.deployment, 0.0) * each.generations  # type: ignore[assignment]
    times = buckets_of(since_ms, until_ms, together)
    series = [_series("flagged", "flagged", [flagged[at] for at in times])]
    if promises:
        values = [round(expected[at], 2) for at in times]
        series.append({**_series("false alarms at most, as promised", "ink", values), "line": True})
    return {"kind": "bars", "x": _seconds(times), "series": series, "unit": "count", "together": together}


def coverage(hours: Iterable[HourCount], since_ms: int, until_ms: int, together: int) -> Chart:
    """Share of traffic per bucket by what the guard said of it, every common reason on its own."""
    counts: dict[tuple[Status, str], Counter[int]] = defaultdict(Counter)
    for each in hours:
        if each.kind == "traffic":
            reason = each.reason if each.status == "unmonitored" else ""
            counts[each.status, reason][bucket_of(each.hour_ms, together)] += each.generations
    unseen = [key for key in counts if key[0] == "unmonitored"]
    unseen.sort(key=lambda key: -counts[key].total())
    for key in unseen[MOST_REASONS:]:
        counts["unmonitored", "other"].update(counts.pop(key))
    order = [
        key for key in [("clear", ""), ("flagged", ""), ("not_sampled", ""), *unseen[:MOST_REASONS]] if key in counts
    ]
    order += [key for key in counts if key not in order]
    times = buckets_of(since_ms, until_ms, together)
    totals = [sum(found[at] for found in counts.values()) for at in times]
    tones: dict[Status, str] = {"clear": "clear", "flagged": "flagged", "not_sampled": "unsampled"}
    series, place = [], 0
    for status, reason in order:
        tone = tones.get(status) or f"unseen-{place % 4}"
        place += status == "unmonitored"
        values = [
            counts[status, reason][at] / total if total else None for at, total in zip(times, totals, strict=True)
        ]
        series.append(_series(words.what(status, reason), tone, values))
    return {"kind": "stack", "x": _seconds(times), "series": series, "unit": "share", "together": together}


def latency(found: Iterable[LatencyCount], since_ms: int, until_ms: int, together: int) -> Chart:
    """Seconds of verdicts per bucket, at a few quantiles."""
    by_time: dict[int, list[LatencyCount]] = defaultdict(list)
    for each in found:
        by_time[bucket_of(each.hour_ms, together)].append(each)
    times = buckets_of(since_ms, until_ms, together)
    series = [
        _series(f"{100 * share:g} % within", f"line-{place}", [quantile(by_time[at], share) for at in times])
        for place, share in enumerate(QUANTILES)
    ]
    return {
        "kind": "lines",
        "x": _seconds(times),
        "series": series,
        "unit": "seconds",
        "log": True,
        "together": together,
    }


def trajectory(found: Trajectory, verdict: Verdict) -> Chart:
    """Sigma cell by cell, one line per tapped layer; the request's own number is a level line."""
    sigma = found.sigma()
    cells = len(sigma)
    series: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for column, name in enumerate(found.columns):
        values = [_number(value) for value in sigma[: found.length, column]]
        if name == REQUEST:
            if values and values[0] is not None:
                marks.append({"y": values[0], "name": "what the request reads as"})
            continue
        tone = f"line-{len(series) % 3}"
        series.append(_series(name.replace("sri@", "layer "), tone, values + [None] * (cells - len(values))))
    chart: Chart = {
        "kind": "trajectory",
        "x": list(range(1, cells + 1)),
        "series": series,
        "marks": marks,
        "unit": "sigma",
    }
    if verdict.first_alarm_step is not None:
        steps = verdict.steps_expected or verdict.steps_seen or cells
        # Steps are laid on the cells of the grid.
        chart["alarm"] = min(verdict.first_alarm_step * cells // max(steps, 1), cells - 1) + 1
    return chart


def scores(points: Sequence[ScorePoint], canaries: Sequence[ScorePoint], part: str) -> Chart:
    """Scores of one part over time, with its threshold."""
    kinds: list[tuple[str, str, Callable[[ScorePoint], bool], Sequence[ScorePoint]]] = [
        ("clear", "harmless", lambda point: point.status != "flagged", points),
        ("flagged", "flagged", lambda point: point.status == "flagged", points),
        ("canaries", "line-1", lambda point: True, canaries),
    ]
    some = sorted((p for group in (points, canaries) for p in group if p.part == part), key=lambda point: point.at)
    series = []
    for name, tone, fits, group in kinds:
        chosen = {id(point) for point in group if point.part == part and fits(point)}
        if chosen:
            series.append(_series(name, tone, [_number(p.score) if id(p) in chosen else None for p in some]))
    limits = [point.threshold for point in some if point.threshold is not None]
    marks = [{"y": limits[-1], "name": "threshold"}] if limits and math.isfinite(limits[-1]) else []
    return {"kind": "points", "x": [p.at / 1000 for p in some], "series": series, "marks": marks, "unit": "score"}


def sparkline(values: Sequence[float], cells: int, width: float = 120, height: float = 32) -> str:
    """Points of an SVG polyline of sigma, 1 at the top."""
    across = max(cells, len(values), 2) - 1
    return " ".join(
        f"{place / across * width:.1f},{(1 - min(max(value, 0), 1)) * height:.1f}"
        for place, value in enumerate(values)
        if math.isfinite(value)
    )


def thumbnail(found: Trajectory) -> str:
    """As `sparkline`, of the last tapped layer of a generation that has ended."""
    sigma = found.sigma()
    layers = [place for place, name in enumerate(found.columns) if name != REQUEST] or [0]
    return sparkline([float(value) for value in sigma[: found.length, layers[-1]]], len(sigma))


def table(chart: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A chart over time as a table, the newest first; rows in which nothing is are left out."""
    formats: dict[str, Callable[[Any], str]] = {
        "count": lambda value: words.count(value) if value == int(value) else f"{value:.1f}",
        "share": words.percent,
        "seconds": words.seconds,
    }
    shown = formats[chart["unit"]]
    rows = []
    for place, at in reversed(list(enumerate(chart["x"]))):
        values = [each["values"][place] for each in chart["series"]]
        if any(values):
            when = (words.day if chart["together"] >= 24 else words.hour)(int(at * 1000))
            rows.append([when, *("" if value is None else shown(value) for value in values)])
    return [each["name"] for each in chart["series"]], rows


def _series(name: str, tone: str, values: Sequence[float | None]) -> dict[str, Any]:
    return {"name": visible(name), "tone": tone, "values": [_number(value) for value in values]}


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    # Six digits are more than a screen shows.
    return float(f"{float(value):.6g}")


def _seconds(times: Iterable[int]) -> list[float]:
    return [at / 1000 for at in times]
