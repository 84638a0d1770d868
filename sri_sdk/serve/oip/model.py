"""One graph of one bundle, as clients see it: a model with a name, a version, inputs and outputs.

Names and shapes are those of the exporter `triton`, so that clients need not change between the two: a graph's [B] is
[B, 1] here. Beside the graph's own outputs there are three that make a verdict, on request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sri_sdk.bundle.manifest import Manifest
from sri_sdk.records import Rule
from sri_sdk.scoring.runtime import Scored
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.serve.oip.tensors import TYPES, Array

GraphName = Literal["signal", "prefix"]
GRAPHS: tuple[GraphName, ...] = ("signal", "prefix")
"""Those that are served. The graphs with the anchors are secrets, and no service of signals needs them."""
RAW = ("score", "valid")
VERDICT = {"flagged": "BOOL", "p_value": "FP32", "status": "BYTES"}
"""What `Scorer.score` says: by the rule `final` of `NAME_signal`, by `online` of `NAME_prefix`."""
_TRIALS = 5


@dataclass(frozen=True, slots=True)
class Edge:
    """An input or output: its type, and its shape without the batch."""

    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """See above. Immutable, so that a request that has it keeps it whatever is loaded meanwhile."""

    bundle: str
    """Name of the bundle."""
    name: str
    version: str
    graph: GraphName
    scorer: Scorer
    inputs: Mapping[str, Edge] = field(init=False)
    outputs: Mapping[str, Edge] = field(init=False)
    """All of them, those on request included."""
    row_seconds: float = field(init=False)
    """Seconds that one more row takes."""
    call_seconds: float = field(init=False)
    """Seconds that a call with one row takes."""
    remembered: dict[bytes, Any] = field(init=False, default_factory=dict)
    """What requests ask, by the bytes of their JSON; see `asked.py`."""

    def __post_init__(self) -> None:
        entry = self.scorer.manifest.graphs[self.graph]
        inputs = {name: Edge(TYPES[edge.dtype], _dims(edge.shape)) for name, edge in entry.inputs.items()}
        outputs = {name: Edge(TYPES[edge.dtype], _dims(edge.shape)) for name, edge in entry.outputs.items()}
        outputs |= {name: Edge(datatype, (1,)) for name, datatype in VERDICT.items()}
        one, many = (_measured(self, rows) for rows in (1, 32))
        for name, value in {
            "inputs": inputs, "outputs": outputs, "call_seconds": one, "row_seconds": max(0.0, many - one) / 31,
        }.items():  # fmt: skip
            object.__setattr__(self, name, value)

    @property
    def digest(self) -> str:
        """Of its bundle."""
        return self.scorer.bundle.digest

    @property
    def rule(self) -> Rule:
        """By which its verdicts are found."""
        return "final" if self.graph == "signal" else "online"

    def seconds(self, rows: int) -> float:
        """About how long a call takes."""
        return self.call_seconds + self.row_seconds * (rows - 1)

    def run(self, inputs: Mapping[str, Array]) -> Scored:
        """Scores as the graph has them: `signals` [B, T, C] float32 and perhaps `length` [B] int64 -> [B] or [B, K]."""
        if self.graph == "signal":
            return self.scorer.score_final(inputs["signals"])
        return self.scorer.score_prefix(inputs["signals"], inputs["length"])

    def alarms(self, scored: Scored) -> Array:
        """Which rows are above their threshold: [B] bool."""
        return self.scorer.alarms(scored, self.rule)


def _dims(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(int(size) for size in shape[1:]) or (1,)


def _measured(model: Model, rows: int) -> float:
    """Seconds of a call, the shortest of a few: others keep the processor busy as well."""
    manifest = model.scorer.manifest
    columns = manifest.signal.layers if isinstance(manifest, Manifest) else len(manifest.signal.columns)
    signals = np.full((rows, manifest.signal.cells, columns), 0.5, np.float32)
    inputs: dict[str, Array] = {"signals": signals, "length": np.full(rows, manifest.signal.cells, np.int64)}
    taken = []
    for _ in range(_TRIALS):
        start = time.perf_counter()
        model.run(inputs)
        taken.append(time.perf_counter() - start)
    return min(taken)
