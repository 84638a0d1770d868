"""The exported artefact: a folder that executes nothing. Write it whole or not at all; read it or refuse it.

    <bundle>/manifest.json    see `manifest.py`
    <bundle>/signal.onnx      one file per graph the manifest lists, and nothing else

Every hash here guards against damage, not against tampering: who can change a graph can change the manifest.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Self

from sri_sdk._version import __version__
from sri_sdk.anchors import Anchors
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector
from sri_sdk.errors import BundleError
from sri_sdk.files import replacing, sha256
from sri_sdk.golden import Golden
from sri_sdk.graph import Graph
from sri_sdk.guard_graphs import INVALID_SCORE, RANGE
from sri_sdk.manifest import (
    MANIFEST_FORMAT,
    NO_DIGEST,
    AnchorsEntry,
    DetectorEntry,
    FileEntry,
    GoldenEntry,
    GraphEntry,
    Manifest,
    PackedArray,
    Rate,
    RuleEntry,
    SignalEntry,
    TensorEntry,
)  # fmt: skip
from sri_sdk.signal import EPS, TAU

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 * 2**20
"""Bytes. A million calibration scores are 5 MiB."""
LARGEST_BUNDLE = 2**30
"""Bytes of all files. Read into memory, so a wrong path must not fill it."""


@dataclass(frozen=True, slots=True, eq=False)
class GuardParts:
    """A fitted and calibrated guard: everything an exporter needs."""

    detector: Detector
    """Fitted."""
    detector_name: str
    """Its entry point, as users type it."""
    anchors: Anchors
    scale: PrefixScale
    final: Threshold
    online: Threshold
    golden: Mapping[str, Golden]
    """Per graph: `signal`, `prefix`, `full`."""
    rates: tuple[Rate, ...] = ()
    tau: float = TAU
    eps: float = EPS
    producer: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the exporter used, beyond sri-sdk and onnxruntime."""

    def facts(self) -> dict[str, str]:
        """What every graph says about itself in its own metadata, for readers that have only the file."""
        cells, layers, width = self.anchors.harmless.shape
        return {
            "sri_format": str(MANIFEST_FORMAT), "signal_length": str(cells), "layers": str(layers),
            "hidden_size": str(width), "tau": repr(self.tau), "eps": repr(self.eps),
            "threshold": repr(self.final.value), "threshold_online": repr(self.online.value),
            "anchors_sha256": self.anchors.digest,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle in memory, checked against its hashes. Whether the graphs compute what they should is the scorer's
    golden self-test."""  # fmt: skip

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The manifest's digest, which covers every file: names this very bundle."""
        return self.manifest.digest

    def graph(self, name: str) -> bytes:
        """The ONNX bytes of one graph.

        Raises:
            BundleError: the bundle has no such graph.
        """
        if name not in self.manifest.graphs:
            raise BundleError(
                f"{self.path}: no graph {name!r}; it has {', '.join(sorted(self.manifest.graphs))}. "
                "Export the guard again with the exporter option that adds it."
            )
        return self.files[self.manifest.graphs[name].file]

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Reads a bundle folder into memory.

        Only then is anything parsed, so a file that changes meanwhile cannot be half old and half new.

        Raises:
            BundleError: missing, too large, not as listed, damaged, or of another format.
        """
        path = Path(path)
        contents = _read_all(path)
        manifest = Manifest.from_bytes(contents.pop(MANIFEST), f"{path}/{MANIFEST}")
        for name in sorted(manifest.files.keys() ^ contents.keys()):
            problem = "is missing" if name in manifest.files else "is not listed in the manifest"
            raise BundleError(f"{path}: {name} {problem}. Copy the bundle again, or export the guard again.")
        for name, entry in manifest.files.items():
            if len(contents[name]) != entry.size or sha256(contents[name]) != entry.sha256:
                raise BundleError(f"{path}: {name} does not match its digest. Copy the bundle again.")
        return cls(path, manifest, contents)


def write_bundle(target: Path, parts: GuardParts, graphs: Mapping[str, Graph], files: Mapping[str, bytes]) -> Path:
    """Writes a bundle for drawn `graphs` and their compiled `files` (both by graph name); an old one is replaced."""
    manifest = _manifest(parts, graphs, {f"{name}.onnx": content for name, content in files.items()})
    with replacing(target) as made:
        made.mkdir()
        for name, content in files.items():
            (made / f"{name}.onnx").write_bytes(content)
        (made / MANIFEST).write_bytes(manifest.to_bytes())
    return target


def _manifest(parts: GuardParts, graphs: Mapping[str, Graph], files: Mapping[str, bytes]) -> Manifest:
    cells, layers, width = parts.anchors.harmless.shape
    detector, fingerprint = parts.detector, parts.anchors.fingerprint
    low, high = RANGE[detector.domain]
    return Manifest(
        format=1,
        digest=NO_DIGEST,
        files={name: FileEntry(sha256=sha256(content), size=len(content)) for name, content in files.items()},
        graphs={name: _graph_entry(graph) for name, graph in graphs.items()},
        sensitive="full" in graphs,
        signal=SignalEntry(
            cells=cells, layers=layers, hidden_size=width, domain=detector.domain, low=low, high=high
        ),
        tau=parts.tau,
        eps=parts.eps,
        pooling=fingerprint.hard.get("pooling"),
        grid=fingerprint.hard.get("grid"),
        fingerprint=fingerprint.to_dict(),
        fingerprint_digest=fingerprint.digest,
        anchors=AnchorsEntry(sha256=parts.anchors.digest, provenance=dict(parts.anchors.provenance)),
        detector=DetectorEntry(
            name=parts.detector_name, config=detector.config.model_dump(mode="json"), tier=detector.tier
        ),
        rules={"final": RuleEntry.of(parts.final), "online": RuleEntry.of(parts.online)},
        invalid_score=INVALID_SCORE,
        rates=parts.rates,
        golden={name: _golden_entry(parts.golden[name]) for name in graphs},
        producer={"sri-sdk": __version__, "onnxruntime": version("onnxruntime"), **parts.producer},
    )  # fmt: skip


def _graph_entry(graph: Graph) -> GraphEntry:
    inputs = {name: TensorEntry(dtype=dtype, shape=shape) for name, (dtype, shape) in graph.inputs.items()}
    outputs = {name: TensorEntry(dtype=dtype, shape=shape) for name, (_, dtype, shape) in graph.outputs.items()}
    return GraphEntry(file=f"{graph.name}.onnx", inputs=inputs, outputs=outputs)


def _golden_entry(golden: Golden) -> GoldenEntry:
    return GoldenEntry(
        inputs={name: PackedArray.pack(array) for name, array in golden.inputs.items()},
        score=PackedArray.pack(golden.score),
        valid=PackedArray.pack(golden.valid),
        tolerance=PackedArray.pack(golden.tolerance),
    )


def _read_all(path: Path) -> dict[str, bytes]:
    """Every file of the folder, after checking that there are only plain files and not too many bytes of them."""
    if not path.is_dir():
        raise BundleError(f"{path}: not a bundle folder. Point to the folder that holds {MANIFEST}.")
    if not (path / MANIFEST).exists() and (path / "bundle" / MANIFEST).exists():
        raise BundleError(f"{path}: a guard's folder, not a bundle. Its bundle is {path / 'bundle'}.")
    if not (path / MANIFEST).exists():
        raise BundleError(f"{path}: {MANIFEST} is missing. Point to a bundle folder, or export the guard again.")
    sizes: dict[str, int] = {}
    for entry in path.iterdir():
        found = entry.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(
                f"{path}: {entry.name} is not a plain file, and a bundle holds plain files only. Copy the bundle again."
            )
        sizes[entry.name] = found.st_size
    for what, size, cap in [
        (MANIFEST, sizes[MANIFEST], LARGEST_MANIFEST),
        ("all", sum(sizes.values()), LARGEST_BUNDLE),
    ]:
        if size > cap:
            raise BundleError(f"{path}: {what} has {size} bytes, allowed are {cap}. This is not a bundle of this SDK.")
    try:
        return {name: (path / name).read_bytes() for name in sizes}
    except OSError as err:
        raise BundleError(f"{path}: cannot be read ({err.strerror}). Check who may read its files.") from err
