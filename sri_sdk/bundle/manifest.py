"""`manifest.json` of a bundle, format 1: everything a scoring process must know, readable from any language.

`manifest_v2.py` is format 2, and reads both.

Arrays are base64 of row-major little-endian bytes, because JSON has no NaN. The file *is* its canonical form: the
digest in it is the SHA-256 of the file's own bytes with the 64 characters of the digest set to "0", so a reader needs
no JSON serialiser to check it. Digests protect against damage, not against tampering: whoever can change a file can
change its digest too. Sign the bundle, or pin its digest, where it matters.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.exact import JsonValue, Model, Spelt, Within, Wrong
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.bundle.ranges import INVALID_SCORE
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.graph.builder import Dtype
from sri_sdk.records import Tier
from sri_sdk.strict_json import JsonError, parse, write

MANIFEST_FORMAT = 1
FORMATS = (1, 2)
"""Those that can be read."""
GRAPHS = ("signal", "prefix", "full", "step")
SENSITIVE = frozenset({"full", "step"})
"""Graphs that contain the anchors."""
MOST_GOLDEN = 256
"""Most rows in the golden vectors of one graph."""
LARGEST_PROBE = 2**25
"""Most cells times layers times width, if a graph takes activations: the self-test makes rows of that size."""
LARGEST_SCORE = 3e38
"""Every threshold is below it: `INVALID_SCORE` is the float32 nearest to it, so no score that counts is above."""
MOST_VALUES = 2**15
"""Most commas and opening brackets: a value takes 180 bytes of memory, and 2 in the file. Arrays are strings."""
MOST_CELLS = 2**18
"""Most cells times layers: with more, one row of some graphs would take 32 MiB."""
NO_DIGEST = "0" * 64

Sha256 = Annotated[str, Spelt("[0-9a-f]{64}")]
Shape = tuple[int | str, ...]
"""A string is a free dimension."""


class FileEntry(Model):
    """What one file must be."""

    sha256: Sha256
    size: Annotated[int, Within(ge=0)]
    """Bytes."""


class TensorEntry(Model):
    """One input or output of a graph."""

    dtype: Dtype
    shape: Shape


class GraphEntry(Model):
    """One graph and its edges."""

    file: str
    inputs: dict[str, TensorEntry]
    outputs: dict[str, TensorEntry]


class SignalEntry(Model):
    """The signals the graphs `signal` and `prefix` take: [B, cells, layers] in the detector's domain."""

    cells: Annotated[int, Within(ge=1, le=4096)]
    """T."""
    layers: Annotated[int, Within(ge=1, le=1024)]
    """C."""
    hidden_size: Annotated[int, Within(ge=1, le=2**20)]
    """D of the states the signal was made from."""
    domain: Literal["sigma", "logit"]
    low: float
    """A cell must be above this."""
    high: float
    """A cell must be below this."""


class AnchorsEntry(Model):
    """The anchors that made the signals."""

    sha256: Sha256
    """Over the little-endian float32 bytes, harmless first."""
    provenance: dict[str, JsonValue]


class DetectorEntry(Model):
    """The detector that scores."""

    name: str
    config: dict[str, JsonValue]
    tier: Literal["portable", "python"]


class RuleEntry(Model):
    """One rule's threshold: flagged when score > value."""

    value: float
    alpha: Annotated[float, Within(gt=0, lt=1)]
    delta: Annotated[float, Within(gt=0, lt=1)] | None
    n: Annotated[int, Within(ge=1)]
    rank: Annotated[int, Within(ge=1)]
    tolerance: Annotated[float, Within(ge=0)]
    """Already part of `value`."""
    scores: PackedArray
    """[n] float32 sorted calibration scores; p = (1 + #{s_i >= s}) / (n + 1)."""

    def _consistent(self) -> None:
        check_scores(self.scores, self.n, self.rank)

    @classmethod
    def of(cls, threshold: Threshold) -> Self:
        """From a calibrated threshold."""
        return cls(
            value=threshold.value, alpha=threshold.alpha, delta=threshold.delta, n=threshold.n, rank=threshold.rank,
            tolerance=threshold.tolerance, scores=PackedArray.pack(threshold.scores),
        )  # fmt: skip

    def threshold(self) -> Threshold:
        """As the scorer uses it."""
        return Threshold(
            value=self.value, alpha=self.alpha, delta=self.delta, n=self.n, rank=self.rank, tolerance=self.tolerance,
            scores=self.scores.unpack(),
        )  # fmt: skip


class Rate(Model):
    """A measured rate with its interval, as the report states it."""

    name: str
    k: Annotated[int, Within(ge=0)]
    n: Annotated[int, Within(ge=1)]
    low: float
    high: float


class GoldenEntry(Model):
    """Inputs of one graph and the answers it must give: |score - expected| <= tolerance, `valid` equal."""

    inputs: dict[str, PackedArray]
    """Without the hidden states of `full` and `step`, which `sri_sdk.bundle.golden.probe` makes."""
    score: PackedArray
    valid: PackedArray
    tolerance: PackedArray
    """[G] float32, per row; 0 where the row is invalid."""

    def _consistent(self) -> None:
        rows = self.score.shape
        given = [(x.dtype, x.shape) for x in (self.score, self.valid, self.tolerance)]
        if len(rows) != 1 or given != [("float32", rows), ("bool", rows), ("float32", rows)]:
            raise ValueError("score, valid and tolerance are not one number per row")
        if rows[0] > MOST_GOLDEN or any(x.shape[:1] != rows for x in self.inputs.values()):
            raise ValueError(f"inputs are not one row per score, or there are more than {MOST_GOLDEN}")
        tolerance, valid = self.tolerance.unpack(), self.valid.unpack()
        if not (tolerance >= 0).all() or not np.isfinite(tolerance).all() or valid.all() or not valid.any():
            raise ValueError("a tolerance is not a number, or the rows are all valid, or none is")


class Manifest(Model):
    """Format 1."""

    format: Literal[1]
    digest: Sha256
    files: dict[str, FileEntry]
    graphs: dict[str, GraphEntry]
    sensitive: bool
    """True = a graph contains the anchors: treat the bundle as a secret."""
    signal: SignalEntry
    tau: float
    eps: float
    pooling: JsonValue
    grid: JsonValue
    fingerprint: dict[str, dict[str, JsonValue]]
    """`hard` and `soft` fields."""
    fingerprint_digest: Sha256
    anchors: AnchorsEntry
    detector: DetectorEntry
    rules: dict[Literal["final", "online"], RuleEntry]
    """`final` judges the graph `signal` at the end, `online` the graph `prefix` at every length."""
    invalid_score: float
    """The score a graph gives where `valid` is false."""
    rates: tuple[Rate, ...]
    golden: dict[str, GoldenEntry]
    producer: dict[str, str]
    """Versions of what wrote it. No date: the same guard gives the same bytes."""

    def _consistent(self) -> None:
        size = self.signal.cells * self.signal.layers * self.signal.hidden_size
        problems = [
            (set(self.rules) == {"final", "online"}, "rules must be final and online"),
            *common_problems(self),
            (all(r.value < LARGEST_SCORE for r in self.rules.values()), "a threshold is above invalid_score"),
            (self.signal.low < self.signal.high, "signal.low is not below signal.high"),
            (self.signal.cells * self.signal.layers <= MOST_CELLS, f"cells times layers is above {MOST_CELLS}"),
            (size <= LARGEST_PROBE or not self.sensitive, "cells times layers times width is too large"),
            (self._step_states() <= LARGEST_PROBE, "golden rows of step times layers times width is too large"),
        ]
        for name, entry in self.graphs.items():
            if name not in GRAPHS:
                raise ValueError(f"graph {name!r} is unknown; allowed: {', '.join(GRAPHS)}")
            inputs, outputs = edges(name, self.signal)
            same = entry.file == f"{name}.onnx" and (entry.inputs, entry.outputs) == (inputs, outputs)
            problems.append((same, f"graph {name} does not have the edges or the file it must have"))
            stored = inputs.keys() - {"activations", "phi"}  # Hidden states follow a rule.
            golden = self.golden[name].inputs if name in self.golden else {}
            fits = golden.keys() == stored and all(
                (golden[n].dtype, golden[n].shape[1:]) == (inputs[n].dtype, inputs[n].shape[1:]) for n in stored
            )
            problems.append((fits, f"golden inputs of graph {name} do not fit it"))
        for fine, problem in problems:
            if not fine:
                raise ValueError(problem)

    def _step_states(self) -> int:
        rows = self.golden["step"].score.shape[0] if "step" in self.golden else 0
        return rows * self.signal.layers * self.signal.hidden_size

    # -- what scorers ask of either format ---------------------------------------------------------------------

    @property
    def tier(self) -> Tier:
        """That of its detector."""
        return self.detector.tier

    @property
    def ranges(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[C] each: a cell must be above the first and below the second."""
        layers = self.signal.layers
        return narrowed([self.signal.low] * layers), narrowed([self.signal.high] * layers)

    def to_bytes(self) -> bytes:
        """The file's bytes: canonical JSON, indented so that people can read it, with the digest filled in.

        Raises:
            BundleError: it holds what a reader would refuse, such as an integer beyond 2**53 - 1; names the place.
        """
        return to_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> Self:
        """Reads and checks a manifest of format 1; `source` leads the message. `read_manifest` reads either format.

        Raises:
            BundleError: another format, damaged, or not a manifest.
        """
        found, value = opened(content, source)
        if found != MANIFEST_FORMAT:
            raise unknown_format(found, source)
        return validated(cls, value, source)


def to_bytes(manifest: Model) -> bytes:
    """See `Manifest.to_bytes`."""
    value = {**manifest.model_dump(mode="json"), "digest": NO_DIGEST}
    text = manifest_text(value)
    # Only at the top-level key: a provenance may contain 64 zeros of its own.
    return text.replace(f'\n "digest": "{NO_DIGEST}"', f'\n "digest": "{sha256(text.encode())}"', 1).encode()


def opened(content: bytes, source: str) -> tuple[int, object]:
    """The format of a manifest that matches its own digest, and its JSON; nothing else is checked yet.

    Raises:
        BundleError: too many values, not a manifest, of no format this SDK knows, or damaged.
    """
    if (values := sum(map(content.count, b",[{"))) > MOST_VALUES:
        raise BundleError(
            f"{source}: {values} values, counted as commas and opening brackets; allowed: up to {MOST_VALUES}. "
            "This is not a manifest of this SDK."
        )
    try:
        value = parse(content)
        found, digest = value["format"], value["digest"]
    except (JsonError, KeyError, TypeError) as err:
        raise BundleError(f"{source}: not a bundle manifest ({_brief(err)}). Export the guard again.") from err
    if type(found) is not int or found not in FORMATS:  # True and 1.0 equal 1.
        raise unknown_format(found, source)
    own = str(digest).encode()
    if len(own) != 64 or content.count(own) != 1 or sha256(content.replace(own, NO_DIGEST.encode())) != digest:
        raise BundleError(f"{source}: the manifest does not match its own digest. Copy the bundle again.")
    return found, value


def unknown_format(found: Any, source: str) -> BundleError:
    """The error for a manifest of another format."""
    return BundleError(
        f"{source}: manifest format {found!r}, this SDK reads {' and '.join(map(str, FORMATS))}. "
        "Export the guard again, or upgrade sri-sdk."
    )


Entry = TypeVar("Entry", bound=Model)


def validated(form: type[Entry], value: object, source: str) -> Entry:
    """A manifest of one format, checked whole, from its JSON.

    Raises:
        BundleError: something in it is not as the format says; names the place.
    """
    try:
        return form.model_validate(value)
    except Wrong as err:
        where = ".".join(err.place) or "manifest"
        raise BundleError(f"{source}: {where}: {err.problem}. Export the guard again.") from err


def common_problems(manifest: Any) -> list[tuple[bool, str]]:
    """What both formats demand of a manifest: whether it is so, and what is wrong if not."""
    return [
        (manifest.graphs.keys() >= {"signal", "prefix"}, "graphs signal and prefix are required"),
        (manifest.graphs.keys() == manifest.golden.keys(), "every graph needs golden vectors"),
        (sorted(g.file for g in manifest.graphs.values()) == sorted(manifest.files), "files and graphs differ"),
        (manifest.fingerprint.keys() == {"hard", "soft"}, "fingerprint needs hard and soft"),
        (manifest.invalid_score == INVALID_SCORE, f"invalid_score must be {INVALID_SCORE!r}"),
        (
            manifest.sensitive != SENSITIVE.isdisjoint(manifest.graphs),
            "sensitive must say whether a graph has the anchors",
        ),
        (_grid_counts(manifest.grid), "a grid of steps needs a budget and cells, both numbers above 0"),
    ]


def narrowed(bounds: list[float]) -> NDArray[np.float32]:
    """C bounds -> [C] float32, in which graphs compare with them; those beyond it are infinite."""
    with np.errstate(over="ignore"):
        return np.array(bounds, dtype=np.float64).astype(np.float32)


def check_scores(packed: PackedArray, n: int, rank: int) -> None:
    """Raises ValueError unless calibration scores are n float32 numbers, [n], sorted, with one of that rank."""
    if packed.dtype != "float32" or packed.shape != (n,) or rank > n:
        raise ValueError("scores are not n float32 numbers")
    scores = packed.unpack()
    if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise ValueError("scores are not finite, or not sorted")


def _grid_counts(grid: Any) -> bool:
    """Whether a grid that counts steps says how many, and on how many cells."""
    if not isinstance(grid, dict) or grid.get("mapping") != "step":
        return True
    # The type itself: True is an int.
    return all(type(n := grid.get(key)) is int and 0 < n < 2**31 for key in ("budget", "cells"))


def manifest_text(value: dict[str, Any]) -> str:
    """A manifest, or a part of one, as its file spells it.

    Raises:
        BundleError: it holds what a reader would refuse; names the place.
    """
    try:
        return write(value, sort_keys=True, indent=1) + "\n"
    except JsonError as err:
        raise BundleError(
            f"manifest: {err}. Readers in some language would refuse it, or read another value. Change it in the "
            "config or in the plugin that it comes from, as text if need be, and export again."
        ) from err


def edges(graph: str, signal: SignalEntry) -> tuple[dict[str, TensorEntry], dict[str, TensorEntry]]:
    """The inputs and outputs that a graph of that name has."""
    cells, layers, width = signal.cells, signal.layers, signal.hidden_size

    def floats(*shape: int) -> TensorEntry:
        return TensorEntry(dtype="float32", shape=("B", *shape))

    whole = TensorEntry(dtype="int64", shape=("B",))
    inputs = {
        "signal": {"signals": floats(cells, layers)},
        "prefix": {"signals": floats(cells, layers), "length": whole},
        "full": {"activations": floats(cells, layers, width)},
        "step": {"phi": floats(layers, width), "step": whole, "state": floats(cells, layers)},
    }
    outputs = {"score": floats(), "valid": TensorEntry(dtype="bool", shape=("B",))}
    if graph == "full":
        outputs |= {"sigma": floats(cells, layers), "logit": floats(cells, layers)}
    if graph == "step":
        outputs |= {"sigma": floats(layers), "state_out": floats(cells, layers)}
    return inputs[graph], outputs


def _brief(err: Exception) -> str:
    text = f"{type(err).__name__}: {err}".splitlines()[0]
    return text if len(text) <= 120 else f"{text[:117]}..."
