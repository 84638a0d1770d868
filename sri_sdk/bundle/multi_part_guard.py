"""What a guard with several columns or scores consists of, and the bundle of format 2 that becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.entries import common_entries, packed, shared_facts
from sri_sdk.bundle.golden import Coverage, Golden
from sri_sdk.bundle.guard_graphs import RANGE
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.bundle.manifest import Rate, manifest_text
from sri_sdk.bundle.manifest_v2 import ALL, Manifest2
from sri_sdk.bundle.part_entries import (
    AnchorsEntry2,
    ColumnEntry,
    EndedEntry,
    GoldenEntry2,
    HorizonEntry,
    PartDetector,
    PartEntry,
    PartRule,
    RequestEntry,
    RuleEntry2,
    SignalEntry2,
)  # fmt: skip
from sri_sdk.bundle.part_graphs import (
    DrawnPart,
    domain_of,
    parts_full_graph,
    parts_prefix_graph,
    parts_signal_graph,
    parts_step_graph,
)  # fmt: skip
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector, Domain
from sri_sdk.graph.builder import Graph
from sri_sdk.records import Rule
from sri_sdk.signal import EPS, TAU

FORMAT = 2


@dataclass(frozen=True, slots=True, eq=False)
class GuardPart:
    """One fitted and calibrated part of a guard."""

    name: str
    detector: Detector
    """Fitted on its columns."""
    detector_name: str
    """Name of its entry point, as users type it."""
    columns: tuple[str, ...]
    """What it reads, in the order of the guard's columns."""
    reason: str
    """Code of its alarms."""
    scale: PrefixScale
    rules: Mapping[Rule, Mapping[str, Threshold]]
    """Rule -> group of prompts -> threshold; without groups, the one group is `all`."""


@dataclass(frozen=True, eq=False)
class MultiPartGuard:
    """A fitted and calibrated guard that `GuardParts` cannot hold: everything an exporter needs of it."""

    parts: tuple[GuardPart, ...]
    anchors: Anchors
    """With the request map, if there is a request column."""
    alpha: float
    """Of each rule; the parts share it."""
    golden: Mapping[str, Golden]
    """Per graph: `signal`, `prefix`, `full`, and `step` where there is an SRI column; answers are [G, K]."""
    rates: tuple[Rate, ...] = ()
    tau: float = TAU
    eps: float = EPS
    noticed: Mapping[str, Coverage] = field(default_factory=dict)
    """See `GuardParts`."""
    producer: Mapping[str, str] = field(default_factory=dict)
    """See `GuardParts`."""

    @property
    def domain(self) -> Domain:
        """Of the signals that its graphs take."""
        return domain_of([part.detector for part in self.parts])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the C columns, in order."""
        return tuple(column.name for column in self.anchors.columns)

    @cached_property
    def drawn(self) -> tuple[DrawnPart, ...]:
        """The parts, as graphs need them."""
        return tuple(
            DrawnPart(part.detector, tuple(map(self.names.index, part.columns)), part.scale) for part in self.parts
        )

    def facts(self) -> dict[str, str]:
        """See `GuardParts.facts`. Thresholds are left to the manifest, where their groups are."""
        return {
            **shared_facts(self.anchors, FORMAT, self.tau, self.eps),
            "columns": ",".join(self.names), "parts": ",".join(part.name for part in self.parts),
        }  # fmt: skip

    def graphs(self, *, full: bool = False, step: bool = False) -> dict[str, Graph]:
        """See `GuardParts.graphs`. There is no `step` where nothing but the request is read."""
        cells, layers, _ = self.anchors.harmless.shape
        made = [
            parts_signal_graph(self.drawn, cells, len(self.names)),
            parts_prefix_graph(self.drawn, cells, len(self.names)),
        ]
        if full:
            made.append(parts_full_graph(self.drawn, self.anchors, tau=self.tau, eps=self.eps))
        if step and layers:
            made.append(parts_step_graph(self.drawn, self.anchors, tau=self.tau, eps=self.eps))
        return {graph.name: graph for graph in made}

    def manifest(self, graphs: Mapping[str, Graph], files: Mapping[str, bytes]) -> Manifest2:
        """See `GuardParts.manifest`."""
        fingerprint, request = self.anchors.fingerprint, self.anchors.request
        provenance = dict(self.anchors.provenance)
        parts = [_part_entry(part) for part in self.parts]
        entry = None if request is None else RequestEntry(sha256=request.digest, provenance=dict(request.provenance))
        # What comes from elsewhere, before anything is made of it: a digest of NaN is an error that names no place.
        manifest_text({
            "fingerprint": fingerprint.to_dict(),
            "anchors": {"provenance": provenance, "request": None if entry is None else entry.provenance},
            "parts": [part.detector.config for part in parts],
        })  # fmt: skip
        return Manifest2(
            format=2,
            signal=self._signal_entry(),
            anchors=AnchorsEntry2(sha256=self.anchors.digest, provenance=provenance, request=entry),
            parts=tuple(parts),
            tier="python" if any(part.detector.tier == "python" for part in self.parts) else "portable",
            groups=tuple(sorted(self.parts[0].rules["final"].keys() - {ALL})),
            rules=self._rules(),
            horizon=None if fingerprint.horizon is None else HorizonEntry(steps=fingerprint.horizon),
            ended=self._ended(),
            golden={name: GoldenEntry2(**packed(self.golden[name])) for name in graphs},
            **common_entries(self, graphs, files),
        )

    def _signal_entry(self) -> SignalEntry2:
        cells, _, width = self.anchors.harmless.shape
        low, high = RANGE[self.domain]
        columns = tuple(
            ColumnEntry(name=each.name, kind=each.kind, layers=cast(Any, each.layers), low=low, high=high)
            for each in self.anchors.columns
        )
        return SignalEntry2(cells=cells, hidden_size=width, domain=self.domain, columns=columns)

    def _rules(self) -> dict[Rule, RuleEntry2]:
        found: dict[Rule, RuleEntry2] = {}
        for rule in ("final", "online", "request"):
            having = {part.name: PartRule.of(part.rules[rule]) for part in self.parts if rule in part.rules}
            if having:
                found[rule] = RuleEntry2(alpha=self.alpha, parts=having)
        return found

    def _ended(self) -> EndedEntry | None:
        """By the last tapped layer: nothing is known of how a generation ends that is watched up to a horizon only."""
        sri = [column.name for column in self.anchors.columns if column.kind == "sri"]
        if not sri or self.anchors.fingerprint.horizon is not None:
            return None
        return EndedEntry(column=sri[-1], value=0.0 if self.domain == "logit" else 0.5)


AnyGuard = GuardParts | MultiPartGuard
"""What an exporter may be given; see `Exporter.formats`."""


def _part_entry(part: GuardPart) -> PartEntry:
    options = part.detector.config.model_dump(mode="json")
    detector = PartDetector(name=part.detector_name, config=options, tier=part.detector.tier)
    return PartEntry(name=part.name, columns=part.columns, reason=part.reason, detector=detector)
