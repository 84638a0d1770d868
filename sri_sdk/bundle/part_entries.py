"""What a manifest of format 2 has that format 1 has not: columns, and parts with thresholds by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import numpy as np

from sri_sdk.bundle.exact import Items, JsonValue, Model, Spelt, Within
from sri_sdk.bundle.manifest import LARGEST_SCORE, MOST_CELLS, MOST_GOLDEN, Sha256, check_scores
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import Tier

ColumnName = Annotated[str, Spelt("[a-z0-9@-]{1,64}")]
PartName = Annotated[str, Spelt("[a-z][a-z0-9-]{0,31}")]
Reason = Annotated[str, Spelt("[a-z][a-z0-9_]{0,63}")]
GROUP = "^[A-Za-z0-9_.-]{1,64}$"
"""What the name of a group looks like."""
Group = Annotated[str, Spelt(GROUP)]


class ColumnEntry(Model):
    """One column of the signals that the graphs take."""

    name: ColumnName
    kind: Literal["sri", "request"]
    layers: Annotated[tuple[Literal["final"] | Annotated[int, Within(ge=0)], ...], Items(least=1, most=1024)]
    """Where its states are read; one for `sri`."""
    low: float
    """A cell must be above this."""
    high: float
    """A cell must be below this."""


class SignalEntry2(Model):
    """The signals that the graphs `signal` and `prefix` take: [B, cells, columns] in `domain`."""

    cells: Annotated[int, Within(ge=1, le=4096)]
    """T."""
    hidden_size: Annotated[int, Within(ge=1, le=2**20)]
    """D of the states the signal was made from."""
    domain: Literal["sigma", "logit"]
    columns: Annotated[tuple[ColumnEntry, ...], Items(least=1, most=1024)]

    def _consistent(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have one name")
        if any(column.kind == "request" for column in self.columns[:-1]):
            raise ValueError("there may be one request column, and it comes last")
        if any(column.kind == "sri" and len(column.layers) != 1 for column in self.columns):
            raise ValueError("a column of kind sri has one layer")
        if not all(column.low < column.high for column in self.columns):
            raise ValueError("low of a column is not below its high")
        if self.cells * len(self.columns) > MOST_CELLS:
            raise ValueError(f"cells times columns is above {MOST_CELLS}")

    @property
    def request(self) -> ColumnEntry | None:
        """The request column; None = there is none."""
        return self.columns[-1] if self.columns[-1].kind == "request" else None

    @property
    def sri(self) -> tuple[ColumnEntry, ...]:
        """The other columns."""
        return tuple(column for column in self.columns if column.kind == "sri")


class PartDetector(Model):
    """The detector of a part."""

    name: str
    config: dict[str, JsonValue]
    tier: Tier


class PartEntry(Model):
    """One score of the graphs: entry k of this list is column k of `score` and `valid`."""

    name: PartName
    columns: Annotated[tuple[ColumnName, ...], Items(least=1)]
    """What it reads, in the order of the signals."""
    reason: Reason
    """Code of its alarms."""
    detector: PartDetector


class GroupEntry(Model):
    """A part's threshold for one group: flagged when score > value."""

    value: Annotated[float, Within(lt=LARGEST_SCORE)]
    n: Annotated[int, Within(ge=1)]
    rank: Annotated[int, Within(ge=1)]
    tolerance: Annotated[float, Within(ge=0)]
    scores: PackedArray
    """[n] float32 sorted calibration scores; p = (1 + #{s_i >= s}) / (n + 1)."""

    def _consistent(self) -> None:
        check_scores(self.scores, self.n, self.rank)


class PartRule(Model):
    """What one part does under a rule."""

    alpha: Annotated[float, Within(gt=0, lt=1)]
    """Its share of the rule's."""
    delta: Annotated[float, Within(gt=0, lt=1)] | None
    groups: Annotated[dict[Group, GroupEntry], Items(least=1)]

    @classmethod
    def of(cls, thresholds: Mapping[str, Threshold]) -> Self:
        """From calibrated thresholds by group, which have one alpha."""
        first = next(iter(thresholds.values()))
        groups = {
            name: GroupEntry(
                value=t.value, n=t.n, rank=t.rank, tolerance=t.tolerance, scores=PackedArray.pack(t.scores)
            )
            for name, t in thresholds.items()
        }
        return cls(alpha=first.alpha, delta=first.delta, groups=groups)

    def thresholds(self) -> dict[str, Threshold]:
        """By group, as the scorer uses them."""
        return {
            name: Threshold(e.value, self.alpha, self.delta, e.n, e.rank, e.tolerance, e.scores.unpack())
            for name, e in self.groups.items()
        }


class RuleEntry2(Model):
    """One rule: it alarms if any of its parts does."""

    alpha: Annotated[float, Within(gt=0, lt=1)]
    parts: Annotated[dict[PartName, PartRule], Items(least=1)]


class RequestEntry(Model):
    """The map that made the request column."""

    sha256: Sha256
    provenance: dict[str, JsonValue]


class AnchorsEntry2(Model):
    """What made the signals."""

    sha256: Sha256
    """Over the little-endian float32 bytes of the anchors, harmless first."""
    provenance: dict[str, JsonValue]
    request: RequestEntry | None


class HorizonEntry(Model):
    """The guard decides on the first steps of a generation."""

    steps: Annotated[int, Within(ge=1, lt=2**31)]


class EndedEntry(Model):
    """How a generation ended: refusing where the last cell of `column` is below `value`, else complying."""

    column: ColumnName
    value: float


class GoldenEntry2(Model):
    """Inputs of one graph and the answers it must give, [G, K] each."""

    inputs: dict[str, PackedArray]
    score: PackedArray
    valid: PackedArray
    tolerance: PackedArray

    def _consistent(self) -> None:
        shape = self.score.shape
        given = [(x.dtype, x.shape) for x in (self.score, self.valid, self.tolerance)]
        if len(shape) != 2 or given != [("float32", shape), ("bool", shape), ("float32", shape)]:
            raise ValueError("score, valid and tolerance are not one number per row and part")
        if shape[0] > MOST_GOLDEN or any(x.shape[:1] != shape[:1] for x in self.inputs.values()):
            raise ValueError(f"inputs are not one row per score, or there are more than {MOST_GOLDEN}")
        tolerance, valid = self.tolerance.unpack(), self.valid.unpack()
        if not np.isfinite(tolerance).all() or not (tolerance >= 0).all():
            raise ValueError("a tolerance is not a number")
        if valid.all(axis=0).any() or not valid.any(axis=0).all():
            raise ValueError("the rows of a part are all valid, or none is")
