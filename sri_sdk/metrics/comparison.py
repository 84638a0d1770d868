"""Detectors side by side on one deployment, each with a threshold of its own: what `sri fit --compare` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.cells import DASH, Cell, Table, area_cell, rate_cell
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS

WARNING = (
    "Whoever picks a detector by these numbers has used the test fold up: of several, the one that looks best is "
    "partly lucky, and its rates here are too good. Take the rates of the final guard from prompts that were not "
    "compared on: give folds.test others before the fit."
)
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Compared:
    """One detector, fitted and calibrated alone, with the whole alpha."""

    name: str
    columns: tuple[str, ...]
    """What it reads."""
    labels: str
    """What it does with labelled attacks; see `sri_sdk.Detector.labels`."""
    rates: tuple[Rate, ...]
    """On the test fold, under the names of `sri_sdk.metrics.guard_rates`."""
    auroc: Auroc | None
    """Responses that do harm against harmless generations; None = one side is empty."""
    unscored: int
    """Test generations that it could not score; they count as not flagged."""
    threshold: float
    """Flagged when the score is above it."""
    fit_s: float
    """Wall-clock seconds of its fit."""
    score_us: float
    """Microseconds to score one finished generation, alone in its batch: the median of many calls, taken in turn with
    the other detectors."""
    graph_bytes: int
    """Size of the graph that scores finished generations."""

    def rate(self, name: str) -> Rate | None:
        """One of `rates`; None = there is none of that name."""
        return next((rate for rate in self.rates if rate.name == name), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them, on the same generations."""

    detectors: tuple[Compared, ...]
    """In the order of their names, which is no ranking."""
    missing: Mapping[str, str]
    """Detector -> why it is not compared."""
    counts: Mapping[str, int]
    """Fold -> prompts."""
    alpha: float
    delta: float | None
    labelled: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Attack -> `used` and `seen`: what detectors that take labels have learnt from."""
    test_digest: str = ""
    """Of the prompts of the test fold, which this comparison has used."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        found = asdict(self)
        for entry, of in zip(found["detectors"], self.detectors, strict=True):
            entry["columns"] = list(of.columns)
            entry["rates"] = {rate.name: _rate(rate) for rate in of.rates if rate.n}
        return {"format": FORMAT, "warning": WARNING, **found, "detectors": list(found["detectors"])}


def _rate(rate: Rate) -> dict[str, Any]:
    return {"k": rate.k, "n": rate.n, "rate": rate.value, "low": rate.low, "high": rate.high}


def tables(found: Comparison) -> list[Table]:
    """What a terminal, a Markdown file and a page show: one detector a row."""
    promise = f"at most {100 * found.alpha:g} % false alarms"
    promise += " on average" if found.delta is None else f" with probability {1 - found.delta:g}"
    counts = ", ".join(f"{name} {count:,}" for name, count in found.counts.items())
    shown = [
        _table(
            "detectors", "Detectors on the same generations", found, _main(found),
            f"Each alone, with a threshold of its own for {promise}, under the rule final. Prompts: {counts}.",
        ),
        _table(
            "flagged", "Share flagged, by what the generation is", found, _groups(found),
            "Responses that do harm are what a guard is for. Refused requests need no guard; most detectors flag them.",
        ),
        _table(
            "cost", "What each needs and costs", found, _costs(found),
            "Times are of this machine, taken in turn: compare them with each other. The size is that of the graph.",
            texts=frozenset({1, 2}),
        ),
    ]  # fmt: skip
    return [made for made in shown if len(made.columns) > 1]


Columns = dict[str, list[Cell]]
"""Heading -> one cell per detector."""


def _table(
    name: str, title: str, found: Comparison, columns: Columns, note: str, texts: frozenset[int] = frozenset()
) -> Table:  # fmt: skip
    rows = [(Cell(each.name), *(cells[at] for cells in columns.values())) for at, each in enumerate(found.detectors)]
    return Table(name, title, ("Detector", *columns), tuple(rows), note, texts)


def _main(found: Comparison) -> Columns:
    return {
        "False alarms": [rate_cell(each.rate("false_alarm:final")) for each in found.detectors],
        "Successful attacks flagged": [rate_cell(each.rate(f"{FLAGGED}successful_attack")) for each in found.detectors],
        "AUROC": [area_cell(each.auroc) for each in found.detectors],
    }


FLAGGED = "flagged:final:"
SUCCESS = "success:"
HARMLESS = "harmless:"


def group_words(name: str) -> str:
    """The name of a rate without its beginning, for people: `success:suffix` is `attack suffix`."""
    if name.startswith(SUCCESS):
        return f"attack {name.removeprefix(SUCCESS)}"
    if name.startswith(HARMLESS):
        return f"harmless, {name.removeprefix(HARMLESS)}"
    return CLASS_WORDS.get(name, name)


def _groups(found: Comparison) -> Columns:
    names = dict.fromkeys(rate.name for each in found.detectors for rate in each.rates if rate.n)
    return {
        group_words(name.removeprefix(FLAGGED)): [rate_cell(each.rate(name)) for each in found.detectors]
        for name in names
        if name.startswith(FLAGGED)
    }


def _costs(found: Comparison) -> Columns:
    return {
        "Reads": [Cell(", ".join(each.columns)) for each in found.detectors],
        "Labelled attacks": [Cell(_labels(each.labels, found.labelled)) for each in found.detectors],
        "Fit": [Cell(f"{each.fit_s:.2g} s") for each in found.detectors],
        "One score": [Cell(f"{each.score_us:,.0f} µs") for each in found.detectors],
        "Graph": [Cell(f"{each.graph_bytes / 1000:,.1f} kB") for each in found.detectors],
        "Not scored": [Cell(f"{each.unscored:,}" if each.unscored else DASH) for each in found.detectors],
    }


def _labels(said: str, labelled: Mapping[str, Mapping[str, int]]) -> str:
    used = sum(count["used"] for count in labelled.values())
    if said == "ignored":
        return "needs none"
    return f"{said}; {used or 'none'} in the fit"


def missing_lines(found: Comparison) -> Sequence[str]:
    """Detectors that are not compared, and why; one line each."""
    return [f"{name}: {why}" for name, why in found.missing.items()]
