"""`manifest.json` of a bundle, format 2: several columns, and several scored parts per rule.

What a guard of format 1 can say is still written as format 1, so that every reader goes on reading it. docs/bundles.md
is the specification of both.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.exact import Items, JsonValue, Model
from sri_sdk.bundle.manifest import (
    GRAPHS,
    LARGEST_PROBE,
    FileEntry,
    GraphEntry,
    Manifest,
    Rate,
    Sha256,
    TensorEntry,
    common_problems,
    narrowed,
    opened,
    to_bytes,
    unknown_format,
    validated,
)  # fmt: skip
from sri_sdk.bundle.part_entries import (
    AnchorsEntry2,
    EndedEntry,
    GoldenEntry2,
    Group,
    HorizonEntry,
    PartEntry,
    RuleEntry2,
    SignalEntry2,
)  # fmt: skip
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.records import Tier

MOST_PARTS = 16
MOST_GROUPS = 64
ALL = "all"
"""The one group of a guard without groups."""


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
    parts: Annotated[tuple[PartEntry, ...], Items(least=1, most=MOST_PARTS)]
    tier: Tier
    """`python` if any part's is."""
    groups: Annotated[tuple[Group, ...], Items(most=MOST_GROUPS)]
    """Sorted; empty = one threshold per part, under the name `all`."""
    rules: dict[Literal["final", "online", "request"], RuleEntry2]
    horizon: HorizonEntry | None
    ended: EndedEntry | None
    invalid_score: float
    rates: tuple[Rate, ...]
    golden: dict[str, GoldenEntry2]
    producer: dict[str, str]

    def _consistent(self) -> None:
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
            (self.graphs.keys() <= set(GRAPHS), f"unknown graph; allowed: {', '.join(GRAPHS)}"),
            ("step" not in self.graphs or bool(self.signal.sri), "graph step needs a column sri"),
            *common_problems(self),
            (self._probes_fit(), "golden hidden states are too large"),
            *self._rules_fit(),
            *self._end_fits(),
            *(self._graph_fits(name) for name in self.graphs if name in GRAPHS),
        ]
        for fine, problem in problems:
            if not fine:
                raise ValueError(problem)

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
    def ranges(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[C] each: a cell must be above the first and below the second."""
        columns = self.signal.columns
        return narrowed([column.low for column in columns]), narrowed([column.high for column in columns])

    def to_bytes(self) -> bytes:
        """See `Manifest.to_bytes`."""
        return to_bytes(self)


def read_manifest(content: bytes, source: str) -> Manifest | Manifest2:
    """Reads and checks a manifest of either format; `source` leads the message.

    Raises:
        BundleError: another format, damaged, or not a manifest.
    """
    found, value = opened(content, source)
    if found == 1:
        return validated(Manifest, value, source)
    if found == 2:
        return validated(Manifest2, value, source)
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
