"""`manifest.json` of a bundle, format 2: several columns, and several scored parts per rule.

What a guard of format 1 can say is still written as format 1, so that every reader goes on reading it. docs/bundles.md
is the specification of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, model_validator

from sri_sdk.bundle.guard_graphs import INVALID_SCORE
from sri_sdk.bundle.manifest import (
    GRAPHS,
    LARGEST_PROBE,
    LARGEST_SCORE,
    MOST_CELLS,
    MOST_GOLDEN,
    SENSITIVE,
    FileEntry,
    GraphEntry,
    Manifest,
    Rate,
    Sha256,
    TensorEntry,
    grid_counts,
    opened,
    to_bytes,
    unknown_format,
    validated,
)  # fmt: skip
from sri_sdk.bundle.packed_array import Model, PackedArray
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.detector import Tier

MOST_PARTS = 16
MOST_GROUPS = 64
ALL = "all"
"""The one group of a guard without groups."""

ColumnName = Annotated[str, Field(pattern="^[a-z0-9@-]{1,64}$")]
PartName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,31}$")]
Reason = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,63}$")]
Group = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,64}$")]


class ColumnEntry(Model):
    """One column of the signals that the graphs take."""

    name: ColumnName
    kind: Literal["sri", "request"]
    layers: tuple[Literal["final"] | Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=1024)
    """Where its states are read; one for `sri`."""
    low: float
    """A cell must be above this."""
    high: float
    """A cell must be below this."""


class SignalEntry2(Model):
    """The signals that the graphs `signal` and `prefix` take: [B, cells, columns] in `domain`."""

    cells: int = Field(ge=1, le=4096)
    """T."""
    hidden_size: int = Field(ge=1, le=2**20)
    """D of the states the signal was made from."""
    domain: Literal["sigma", "logit"]
    columns: tuple[ColumnEntry, ...] = Field(min_length=1, max_length=1024)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
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
        return self

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
    columns: tuple[ColumnName, ...] = Field(min_length=1)
    """What it reads, in the order of the signals."""
    reason: Reason
    """Code of its alarms."""
    detector: PartDetector


class GroupEntry(Model):
    """A part's threshold for one group: flagged when score > value."""

    value: float = Field(lt=LARGEST_SCORE)
    n: int = Field(ge=1)
    rank: int = Field(ge=1)
    tolerance: float = Field(ge=0)
    scores: PackedArray
    """[n] float32 sorted calibration scores; p = (1 + #{s_i >= s}) / (n + 1)."""

    @model_validator(mode="after")
    def _calibrated(self) -> Self:
        if self.scores.dtype != "float32" or self.scores.shape != (self.n,) or self.rank > self.n:
            raise ValueError("scores are not n float32 numbers")
        scores = self.scores.unpack()
        if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
            raise ValueError("scores are not finite, or not sorted")
        return self


class PartRule(Model):
    """What one part does under a rule."""

    alpha: float = Field(gt=0, lt=1)
    """Its share of the rule's."""
    delta: float | None = Field(gt=0, lt=1)
    groups: dict[Group, GroupEntry] = Field(min_length=1)

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

    alpha: float = Field(gt=0, lt=1)
    parts: dict[PartName, PartRule] = Field(min_length=1)


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

    steps: int = Field(ge=1, lt=2**31)


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

    @model_validator(mode="after")
    def _one_each(self) -> Self:
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
        return self


class Manifest2(Model):
    """Format 2."""

    format: Literal[2]
    digest: Sha256
    files: dict[str, FileEntry]
    graphs: dict[str, GraphEntry]
    sensitive: bool
    signal: SignalEntry2
    tau: float
    eps: float
    pooling: JsonValue
    grid: JsonValue
    fingerprint: dict[str, dict[str, JsonValue]]
    fingerprint_digest: Sha256
    anchors: AnchorsEntry2
    parts: tuple[PartEntry, ...] = Field(min_length=1, max_length=MOST_PARTS)
    tier: Tier
    """`python` if any part's is."""
    groups: tuple[Group, ...] = Field(max_length=MOST_GROUPS)
    """Sorted; empty = one threshold per part, under the name `all`."""
    rules: dict[Literal["final", "online", "request"], RuleEntry2]
    horizon: HorizonEntry | None
    ended: EndedEntry | None
    invalid_score: float
    rates: tuple[Rate, ...]
    golden: dict[str, GoldenEntry2]
    producer: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [part.name for part in self.parts]
        order = [column.name for column in self.signal.columns]
        tiers = {part.detector.tier for part in self.parts}
        problems = [
            (len(set(names)) == len(names), "two parts have one name"),
            (
                all(list(p.columns) == [name for name in order if name in p.columns] for p in self.parts),
                "a part reads a column that does not exist, twice, or not in order",
            ),
            (self.tier == ("python" if "python" in tiers else "portable"), "tier does not follow from the parts"),
            (list(self.groups) == sorted(set(self.groups)) and ALL not in self.groups, "groups are not sorted names"),
            ((self.signal.request is None) == (self.anchors.request is None), "request map and column differ"),
            (self.graphs.keys() >= {"signal", "prefix"}, "graphs signal and prefix are required"),
            (self.graphs.keys() <= set(GRAPHS), f"unknown graph; allowed: {', '.join(GRAPHS)}"),
            ("step" not in self.graphs or bool(self.signal.sri), "graph step needs a column sri"),
            (self.graphs.keys() == self.golden.keys(), "every graph needs golden vectors"),
            (sorted(g.file for g in self.graphs.values()) == sorted(self.files), "files and graphs differ"),
            (self.fingerprint.keys() == {"hard", "soft"}, "fingerprint needs hard and soft"),
            (self.invalid_score == INVALID_SCORE, f"invalid_score must be {INVALID_SCORE!r}"),
            (self.sensitive != SENSITIVE.isdisjoint(self.graphs), "sensitive must say whether a graph has the anchors"),
            (grid_counts(self.grid), "a grid of steps needs a budget and cells, both numbers above 0"),
            (self._probes_fit(), "golden hidden states are too large"),
            *self._rules_fit(),
            *self._end_fits(),
            *(self._graph_fits(name) for name in self.graphs if name in GRAPHS),
        ]
        for fine, problem in problems:
            if not fine:
                raise ValueError(problem)
        return self

    def _rules_fit(self) -> list[tuple[bool, str]]:
        reading = self.request_parts
        wanted = {"final": self.part_names, "online": self.part_names, **({"request": reading} if reading else {})}
        groups = set(self.groups) or {ALL}
        found = [(self.rules.keys() == wanted.keys(), f"rules must be {', '.join(wanted)}")]
        for name, rule in self.rules.items():
            found += [
                (rule.parts.keys() == set(wanted.get(name, ())), f"rule {name} does not have the parts it must have"),
                (all(p.groups.keys() == groups for p in rule.parts.values()), f"rule {name} has other groups"),
                (
                    sum(p.alpha for p in rule.parts.values()) <= rule.alpha * (1 + 1e-9),
                    f"the parts of rule {name} have more than its alpha",
                ),
            ]
        return found

    def _end_fits(self) -> list[tuple[bool, str]]:
        sri = {column.name for column in self.signal.sri}
        steps = self.grid.get("budget") if isinstance(self.grid, dict) and self.grid.get("mapping") == "step" else None
        agrees = self.horizon is None or steps is None or self.horizon.steps == steps
        named = self.ended is None or (self.ended.column in sri and self.horizon is None)
        return [(agrees, "horizon differs from the budget"), (named, "ended needs a column sri, and no horizon")]

    def _graph_fits(self, name: str) -> tuple[bool, str]:
        entry, (inputs, outputs) = self.graphs[name], edges2(name, self.signal, len(self.parts))
        stored = inputs.keys() - {"activations", "phi", "prompt"}  # Hidden states follow a rule.
        golden = self.golden.get(name)
        fits = (
            golden is not None
            and (entry.file, entry.inputs, entry.outputs) == (f"{name}.onnx", inputs, outputs)
            and golden.score.shape[1:] == (len(self.parts),)
            and golden.inputs.keys() == stored
            and all(
                (golden.inputs[n].dtype, golden.inputs[n].shape[1:]) == (inputs[n].dtype, inputs[n].shape[1:])
                for n in stored
            )
        )
        return fits, f"graph {name} does not have the edges, the file or the golden vectors it must have"

    def _probes_fit(self) -> bool:
        prompt = len(self.signal.request.layers) if self.signal.request else 0
        rows = self.golden["step"].score.shape[0] if "step" in self.golden else 0
        width, sri = self.signal.hidden_size, len(self.signal.sri)
        whole = max(self.signal.cells * sri, prompt) * width
        return (whole <= LARGEST_PROBE or "full" not in self.graphs) and rows * max(
            sri, prompt
        ) * width <= LARGEST_PROBE

    # -- what scorers ask of either format ---------------------------------------------------------------------

    @property
    def part_names(self) -> tuple[str, ...]:
        """K names, in the order of the scores."""
        return tuple(part.name for part in self.parts)

    @property
    def request_parts(self) -> tuple[str, ...]:
        """Those that read nothing but the request, and decide as soon as the prompt has been read."""
        request = self.signal.request
        return tuple(p.name for p in self.parts if request is not None and p.columns == (request.name,))

    @property
    def column_names(self) -> tuple[str, ...]:
        """C names."""
        return tuple(column.name for column in self.signal.columns)

    @property
    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[C] each: a cell must be above the first and below the second."""
        return (
            np.array([column.low for column in self.signal.columns]),
            np.array([column.high for column in self.signal.columns]),
        )

    def to_bytes(self) -> bytes:
        """See `Manifest.to_bytes`."""
        return to_bytes(self)


def read_manifest(content: bytes, source: str) -> Manifest | Manifest2:
    """Reads and checks a manifest of either format; `source` leads the message.

    Raises:
        BundleError: another format, damaged, or not a manifest.
    """
    found = opened(content, source)
    if found == 1:
        return validated(Manifest, content, source)
    if found == 2:
        return validated(Manifest2, content, source)
    raise unknown_format(found, source)


def edges2(graph: str, signal: SignalEntry2, parts: int) -> tuple[dict[str, TensorEntry], dict[str, TensorEntry]]:
    """The inputs and outputs that a graph of that name has, with K = `parts`."""
    cells, columns, width = signal.cells, len(signal.columns), signal.hidden_size
    sri, layers = len(signal.sri), len(signal.request.layers) if signal.request else 0

    def floats(*shape: int) -> TensorEntry:
        return TensorEntry(dtype="float32", shape=("B", *shape))

    whole = TensorEntry(dtype="int64", shape=("B",))
    prompt = {"prompt": floats(layers, width)} if layers else {}
    inputs: dict[str, dict[str, TensorEntry]] = {
        "signal": {"signals": floats(cells, columns)},
        "prefix": {"signals": floats(cells, columns), "length": whole},
        "full": {**({"activations": floats(cells, sri, width)} if sri else {}), **prompt},
        "step": {"phi": floats(sri, width), "step": whole, "state": floats(cells, columns), **prompt},
    }
    outputs = {"score": floats(parts), "valid": TensorEntry(dtype="bool", shape=("B", parts))}
    if graph == "full":
        outputs |= {"sigma": floats(cells, columns), "logit": floats(cells, columns)}
    if graph == "step":
        outputs |= {"sigma": floats(columns), "state_out": floats(cells, columns)}
    return inputs[graph], outputs


AnyManifest = Manifest | Manifest2


def detector_facts(manifest: AnyManifest) -> list[dict[str, Any]]:
    """Name, options and tier of each detector, for people."""
    if isinstance(manifest, Manifest):
        return [manifest.detector.model_dump(mode="json")]
    return [{"part": part.name, **part.detector.model_dump(mode="json")} for part in manifest.parts]


class NamedThreshold(NamedTuple):
    """One threshold of a guard."""

    rule: str
    part: str
    """Empty where the guard has one score."""
    group: str
    """Empty where the guard has no groups."""
    threshold: Threshold


def thresholds_of(manifest: AnyManifest) -> list[NamedThreshold]:
    """Every threshold, rule by rule."""
    if isinstance(manifest, Manifest):
        return [NamedThreshold(rule, "", "", entry.threshold()) for rule, entry in manifest.rules.items()]
    return [
        NamedThreshold(rule, part, "" if group == ALL else group, threshold)
        for rule, entry in manifest.rules.items()
        for part, each in entry.parts.items()
        for group, threshold in each.thresholds().items()
    ]
