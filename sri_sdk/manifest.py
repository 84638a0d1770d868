"""`manifest.json` of a bundle, format 1: everything a scoring process must know, readable from any language.

Arrays are base64 of row-major little-endian bytes, because JSON has no NaN. The file *is* its canonical form: the
digest in it is the SHA-256 of the file's own bytes with the 64 characters of the digest set to "0", so a reader needs
no JSON serialiser to check it. Digests guard against damage, not against tampering: whoever can change a file can
change its digest. Pin the bundle's digest where it matters.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.graph import Dtype

MANIFEST_FORMAT = 1
NO_DIGEST = "0" * 64
_DTYPES: dict[Dtype, str] = {"float32": "<f4", "int64": "<i8", "bool": "|b1"}

Sha256 = str
Shape = tuple[int | str, ...]
"""A string is a free dimension."""


class Model(BaseModel):
    """Immutable, exact: no unknown keys, no coercion, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PackedArray(Model):
    """An array as text."""

    dtype: Dtype
    shape: tuple[int, ...]
    base64: str
    """Row-major, little-endian; a bool is one byte, 0 or 1."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size, expected = len(b64decode(self.base64, validate=True)), math.prod(self.shape)
        if size != expected * np.dtype(_DTYPES[self.dtype]).itemsize:
            raise ValueError(f"{size} bytes for {self.dtype} of shape {self.shape}")
        return self

    @classmethod
    def pack(cls, array: NDArray[Any]) -> Self:
        """From float32, int64 or bool."""
        dtype: Dtype = "float32" if array.dtype.kind == "f" else "int64" if array.dtype.kind == "i" else "bool"
        content = np.ascontiguousarray(array).astype(_DTYPES[dtype]).tobytes()
        return cls(dtype=dtype, shape=array.shape, base64=b64encode(content).decode())

    def unpack(self) -> NDArray[Any]:
        """As an array of the native byte order."""
        flat = np.frombuffer(b64decode(self.base64), dtype=_DTYPES[self.dtype])
        return flat.reshape(self.shape).astype(self.dtype)


class FileEntry(Model):
    """What one file must be."""

    sha256: Sha256
    size: int
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

    cells: int = Field(ge=1)
    """T."""
    layers: int = Field(ge=1)
    """C."""
    hidden_size: int = Field(ge=1)
    """D of the states the signal was made from."""
    domain: Literal["sigma", "logit"]
    low: float
    """A cell must be above this."""
    high: float
    """A cell must be below this."""


class AnchorsEntry(Model):
    """Which anchors made the signals."""

    sha256: Sha256
    """Over the little-endian float32 bytes, harmless first."""
    provenance: dict[str, JsonValue]


class DetectorEntry(Model):
    """What scores."""

    name: str
    config: dict[str, JsonValue]
    tier: Literal["portable", "python"]


class RuleEntry(Model):
    """One rule's threshold: flagged when score > value."""

    value: float
    alpha: float
    delta: float | None
    n: int
    rank: int
    tolerance: float
    """Already part of `value`."""
    scores: PackedArray
    """[n] sorted calibration scores; p = (1 + #{s_i >= s}) / (n + 1)."""

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
    k: int = Field(ge=0)
    n: int = Field(ge=1)
    low: float
    high: float


class GoldenEntry(Model):
    """Inputs of one graph and what it must answer: |score - expected| <= tolerance, valid equal."""

    inputs: dict[str, PackedArray]
    """Empty for `full`, whose inputs follow `sri_sdk.golden.probe`."""
    score: PackedArray
    valid: PackedArray
    tolerance: PackedArray
    """[G] float32, per row; 0 where the row is invalid."""


class Manifest(Model):
    """Format 1."""

    format: Literal[1]
    digest: Sha256
    files: dict[str, FileEntry]
    graphs: dict[str, GraphEntry]
    sensitive: bool
    """True = a graph holds the anchors: treat the bundle as a secret."""
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
    """What a graph answers where `valid` is false."""
    rates: tuple[Rate, ...]
    golden: dict[str, GoldenEntry]
    producer: dict[str, str]
    """Versions of what wrote it. No date: the same guard gives the same bytes."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            (set(self.rules) == {"final", "online"}, "rules must be final and online"),
            (self.graphs.keys() >= {"signal", "prefix"}, "graphs signal and prefix must be there"),
            (self.graphs.keys() == self.golden.keys(), "every graph needs golden vectors"),
            (sorted(g.file for g in self.graphs.values()) == sorted(self.files), "files and graphs differ"),
            (self.fingerprint.keys() == {"hard", "soft"}, "fingerprint needs hard and soft"),
            (all(len(r.scores.unpack()) == r.n for r in self.rules.values()), "scores are not n numbers"),
        ]
        for name in ("signal", "prefix"):
            entry = self.graphs.get(name)
            tail = None if entry is None or "signals" not in entry.inputs else entry.inputs["signals"].shape[1:]
            problems.append((tail == (self.signal.cells, self.signal.layers), f"graph {name} has another shape"))
        for fine, problem in problems:
            if not fine:
                raise ValueError(problem)
        return self

    def to_bytes(self) -> bytes:
        """The file's bytes: canonical JSON, indented so that people can read it, with the digest filled in."""
        value = {**self.model_dump(mode="json"), "digest": NO_DIGEST}
        text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
        # Anchored at the top-level key: a provenance may hold a row of zeros of its own.
        return text.replace(f'\n "digest": "{NO_DIGEST}"', f'\n "digest": "{sha256(text.encode())}"', 1).encode()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> Self:
        """Reads and checks a manifest; `source` is for the message.

        Raises:
            BundleError: another format, damaged, or not a manifest.
        """
        try:
            value = json.loads(content)
            found, digest = value["format"], value["digest"]
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise BundleError(f"{source}: not a bundle manifest ({_brief(err)}). Export the guard again.") from err
        if found != MANIFEST_FORMAT:
            raise BundleError(
                f"{source}: manifest format {found!r}, this SDK reads {MANIFEST_FORMAT}. "
                "Export the guard again, or upgrade sri-sdk."
            )
        own = str(digest).encode()
        if len(own) != 64 or content.count(own) != 1 or sha256(content.replace(own, NO_DIGEST.encode())) != digest:
            raise BundleError(f"{source}: the manifest does not match its own digest. Copy the bundle again.")
        try:
            return cls.model_validate_json(content)
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise BundleError(f"{source}: {where}: {first['msg']}. Export the guard again.") from err


def _brief(err: Exception) -> str:
    text = f"{type(err).__name__}: {err}".splitlines()[0]
    return text if len(text) <= 120 else f"{text[:117]}..."
