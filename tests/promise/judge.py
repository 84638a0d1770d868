"""What the counts of many redraws say of the promise, and of the planted faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.calibrate.conformal import conformal_rank, exact_rank
from tests.promise.cases import ANY, CASES, ONE_DETECTOR, WHOLE, key
from tests.promise.law import Agreement, Law, agreement, holm
from tests.promise.redraw import Case, Line, lines

ERROR = 0.01
"""Chance that the whole proof fails although every promise is kept."""
TOGETHER = "together"
"""All groups of a guard, each with its own threshold."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One promise, and what 200 redraws say of it."""

    case: str
    line: Line
    """Its group is `TOGETHER` for the sum over groups."""
    n: int
    rank: int
    fresh: int
    """Fresh generations per redraw."""
    rate: float
    """Realised, over all redraws."""
    low: float
    high: float
    """95 % interval of it."""
    lost: float
    """Share of the alarms that the parity tolerance takes."""
    broke: float
    """Share of redraws that realised more than the part's alpha."""
    may_break: float
    """What the law says of it."""
    found: Agreement

    @property
    def alpha(self) -> float:
        """Of the part."""
        return self.line.alpha * self.line.share


@dataclass(frozen=True, slots=True)
class Bound:
    """A rate that has a bound and no law: that of the whole guard."""

    case: str
    rule: str
    group: str
    alpha: float
    delta: float | None
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault that was planted, and whether the same test finds it."""

    case: str
    line: Line
    fault: str
    rate: float
    expected: float
    """Rate without the fault."""
    p_value: float


def tried(results: Mapping[str, Any]) -> list[Tried]:
    """Every promise with a law."""
    made = []
    for case, found in _cases(results):
        together: dict[Line, list[tuple[Line, Law]]] = {}
        for line in lines(case):
            if key(line) not in found["alarms"]:
                continue
            law = law_of(case, line)
            made.append(_tried(case, [(line, law)], line, found))
            together.setdefault(_together(line), []).append((line, law))
        made += [_tried(case, each, line, found) for line, each in together.items() if len(each) > 1]
    return made


def law_of(case: Case, line: Line) -> Law:
    """The law of the alarms of one line."""
    sizes = case.sizes[line.group]
    return Law.of(sizes.fresh, sizes.calibration, rank_of(case, line))


def rank_of(case: Case, line: Line) -> int:
    """Rank of the score that the threshold is taken from."""
    n, alpha = case.sizes[line.group].calibration, line.alpha * line.share
    return conformal_rank(n, alpha) if line.delta is None else exact_rank(n, alpha, line.delta)


def bounds(results: Mapping[str, Any]) -> list[Bound]:
    """The rates of whole guards: any part, and any rule."""
    made = []
    for case, found in _cases(results):
        for name, counts in found["alarms"].items():
            rule, part, group, alpha, delta = name.split("|")[:5]
            if part == WHOLE and (len(case.detectors) > 1 or rule == ANY):
                rate, low, high = mean_rate(counts, case.sizes[group].fresh)
                made.append(
                    Bound(case.name, rule, group, float(alpha), None if delta == "-" else float(delta), rate, low, high)
                )  # fmt: skip
    return made


def by_group(results: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(key of the line, group) -> rate in that group under one threshold for all: promised to nobody."""
    made = {}
    for case, found in _cases(results):
        for name, counts in found["alarms"].items():
            if len(name.split("|")) > 5:
                line, group = name.rsplit("|", 1)
                # Per redraw the group's share of the fresh prompts varies a little around that of the pool.
                share = results["pool"]["per_split"][group] / sum(results["pool"]["per_split"].values())
                made[line, group] = float(np.mean(counts)) / (share * case.sizes[ALL].fresh)
    return made


def planted(results: Mapping[str, Any]) -> list[Planted]:
    """Every planted fault."""
    made = []
    for case, found in _cases(results):
        by_key = {key(line): line for line in lines(case)}
        for name, counts in found["planted"].items():
            of, fault = name.rsplit("|", 1)
            line, fresh = by_key[of], case.sizes[by_key[of].group].fresh
            said = agreement(counts, law_of(case, line))
            made.append(Planted(case.name, line, fault, said.mean / fresh, said.expected / fresh, said.p_value))
    for leak in results["leaks"]:
        n, m = leak["calibration"], leak["fresh"]
        said = agreement(leak["alarms"], Law.of(m, n, conformal_rank(n, 0.01)))
        line = Line("final", leak["detector"], ALL, 0.01, 1.0, None)
        fault = f"{leak['leaked']} of {leak['train']} training prompts calibrate, too"
        made.append(Planted("leak", line, fault, said.mean / m, said.expected / m, said.p_value))
    return made


def repeated(results: Mapping[str, Any]) -> tuple[float, float, float, Agreement]:
    """Rate, its 95 % interval and agreement of the further redraws of `ONE_DETECTOR`."""
    sizes = ONE_DETECTOR.sizes[ALL]
    law = Law.of(sizes.fresh, sizes.calibration, conformal_rank(sizes.calibration, 0.01))
    return *mean_rate(results["again"], sizes.fresh), agreement(results["again"], law)


MUST_BE_FOUND = (
    ("one-detector", "online", "a threshold per length"),
    ("one-detector", "final", "20 % of other traffic"),
    ("two-parts", "final", "one threshold for all groups"),
    ("leak", "final", "300 of 300 training prompts calibrate, too"),
)
"""Case, rule and fault; at 1 %, by some part in some group."""


def failures(results: Mapping[str, Any]) -> list[str]:
    """What contradicts the promise, in words; empty = it is proved as far as this proof goes."""
    made = tried(results)
    said = [
        f"{each.case}, {key(each.line)}: {100 * each.rate:.4g} % of fresh generations are flagged, where "
        f"{100 * each.alpha:g} % is promised and the law gives {100 * each.found.expected / each.fresh:.4g} % "
        f"(p = {each.found.p_value:.2g})."
        for each, failed in zip(made, holm([each.found.p_value for each in made], ERROR), strict=True)
        if failed
    ]
    said += [
        f"{each.case}, {each.rule}, {each.group}: the whole guard flags {100 * each.rate:.4g} %, more than "
        f"{100 * each.alpha:g} %."
        for each in bounds(results)
        if each.rule != ANY and each.low > each.alpha
    ]
    faults = planted(results)
    for case, rule, fault in MUST_BE_FOUND:
        of = [p for p in faults if (p.case, p.line.rule, p.fault) == (case, rule, fault) and p.line.alpha == 0.01]
        # As small as the strictest of the limits above.
        if min(p.p_value for p in of) > ERROR / len(made):
            said.append(f"{case}, {rule}: the planted fault {fault!r} is not found.")
    return said


def mean_rate(counts: Any, fresh: int) -> tuple[float, float, float]:
    """Rate over all redraws, and its 95 % interval (Student's t over redraws)."""
    rates = np.asarray(counts, dtype=np.float64) / fresh
    mean, half = float(rates.mean()), float(t.ppf(0.975, len(rates) - 1) * rates.std(ddof=1) / len(rates) ** 0.5)
    return mean, mean - half, mean + half


def _tried(case: Case, of: list[tuple[Line, Law]], line: Line, found: Mapping[str, Any]) -> Tried:
    def sums(kind: str) -> Any:
        return np.sum([found[kind][key(each)] for each, _ in of], axis=0)

    law = of[0][1]
    for _, other in of[1:]:
        law = law + other
    alarms, exact = sums("alarms"), sums("exact")
    fresh = sum(case.sizes[each.group].fresh for each, _ in of)
    most = line.alpha * line.share * fresh + 1e-9
    return Tried(
        case.name, line, case.sizes[of[0][0].group].calibration, rank_of(case, of[0][0]), fresh,
        *mean_rate(alarms, fresh), 1 - float(alarms.sum() / max(1, exact.sum())), float((alarms > most).mean()),
        law.above(most), agreement(alarms, law),
    )  # fmt: skip


def _together(line: Line) -> Line:
    return Line(line.rule, line.part, TOGETHER, line.alpha, line.share, line.delta)


def _cases(results: Mapping[str, Any]) -> Iterator[tuple[Case, Mapping[str, Any]]]:
    for case in CASES:
        yield case, results["cases"][case.name]
