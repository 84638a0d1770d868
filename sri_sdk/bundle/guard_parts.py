"""What a fitted guard with one score consists of, and the bundle of format 1 that becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.entries import common_entries, packed, shared_facts
from sri_sdk.bundle.golden import Coverage, Golden
from sri_sdk.bundle.guard_graphs import RANGE, full_graph, prefix_graph, signal_graph, step_graph
from sri_sdk.bundle.manifest import (
    MANIFEST_FORMAT,
    AnchorsEntry,
    DetectorEntry,
    GoldenEntry,
    Manifest,
    Rate,
    RuleEntry,
    SignalEntry,
    manifest_text,
)  # fmt: skip
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector
from sri_sdk.graph.builder import Graph
from sri_sdk.signal import EPS, TAU


@dataclass(frozen=True, slots=True, eq=False)
class GuardParts:
    """A fitted and calibrated guard with one detector on the whole signal: everything an exporter needs.

    A guard that reads requests too, or has several scores, is a `MultiPartGuard`.
    """

    detector: Detector
    """Fitted."""
    detector_name: str
    """Name of its entry point, as users type it."""
    anchors: Anchors
    scale: PrefixScale
    final: Threshold
    online: Threshold
    golden: Mapping[str, Golden]
    """Per graph: `signal`, `prefix`, `full`, `step`."""
    rates: tuple[Rate, ...] = ()
    tau: float = TAU
    eps: float = EPS
    noticed: Mapping[str, Coverage] = field(default_factory=dict)
    """What the golden vectors notice, per graph: `signal`, `prefix`."""
    producer: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the exporter used, beyond sri-sdk and onnxruntime; and what was stated of the calibration."""

    def facts(self) -> dict[str, str]:
        """What every graph says about itself in its own metadata, for readers that have only the file."""
        return {
            **shared_facts(self.anchors, MANIFEST_FORMAT, self.tau, self.eps),
            "layers": str(self.anchors.harmless.shape[1]),
            "threshold": repr(self.final.value), "threshold_online": repr(self.online.value),
        }  # fmt: skip

    def graphs(self, *, full: bool = False, step: bool = False) -> dict[str, Graph]:
        """The drawings by name: `signal` and `prefix`, and those that are asked for."""
        cells, layers, _ = self.anchors.harmless.shape
        drawn = [signal_graph(self.detector, cells, layers), prefix_graph(self.detector, cells, layers, self.scale)]
        if full:
            drawn.append(full_graph(self.detector, self.anchors, tau=self.tau, eps=self.eps))
        if step:
            drawn.append(step_graph(self.detector, self.anchors, self.scale, tau=self.tau, eps=self.eps))
        return {graph.name: graph for graph in drawn}

    def manifest(self, graphs: Mapping[str, Graph], files: Mapping[str, bytes]) -> Manifest:
        """The manifest of drawn `graphs`, by graph name, and what became of them, by file name.

        Raises:
            BundleError: a plugin's options or what made the anchors hold what a reader would refuse; names the place.
        """
        cells, layers, width = self.anchors.harmless.shape
        detector, fingerprint = self.detector, self.anchors.fingerprint
        low, high = RANGE[detector.domain]
        provenance, options = dict(self.anchors.provenance), detector.config.model_dump(mode="json")
        # What comes from elsewhere, before anything is made of it: a digest of NaN is an error that names no place.
        foreign = {"fingerprint": fingerprint.to_dict(), "anchors": {"provenance": provenance}}
        manifest_text({**foreign, "detector": {"config": options}})
        return Manifest(
            format=1,
            signal=SignalEntry(
                cells=cells, layers=layers, hidden_size=width, domain=detector.domain, low=low, high=high
            ),
            anchors=AnchorsEntry(sha256=self.anchors.digest, provenance=provenance),
            detector=DetectorEntry(name=self.detector_name, config=options, tier=detector.tier),
            rules={"final": RuleEntry.of(self.final), "online": RuleEntry.of(self.online)},
            golden={name: GoldenEntry(**packed(self.golden[name])) for name in graphs},
            **common_entries(self, graphs, files),
        )
