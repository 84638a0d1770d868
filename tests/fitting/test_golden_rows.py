"""Golden vectors notice a constant that was changed: what flips a verdict on signals nobody has seen, fails them."""

import numpy as np
import onnx
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector
from sri_plugin_detectors.logistic import LogisticDetector
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.errors import BundleError
from sri_sdk.fitting.adjustable import Adjustable
from sri_sdk.fitting.build import calibrate_guard, export_guard
from sri_sdk.fitting.golden_rows import FEWEST, MOST, SIZE, room
from sri_sdk.scoring.runtime import load
from sri_sdk.scoring.scorer import load_graphs
from sri_sdk.scoring.self_test import self_test
from tests.vectors.detectors import IsolationForestDetector, MahalanobisDetector

DETECTORS = {
    "toy": ToyDetector, "logistic": LogisticDetector, "autoencoder": AutoencoderDetector,
    "mahalanobis": MahalanobisDetector, "isolation-forest": IsolationForestDetector,
}  # fmt: skip
CHANGES = 150
"""Per graph and detector."""


@pytest.fixture(scope="module", params=list(DETECTORS))
def guard(request, anchors, make_signals, tmp_path_factory):
    """What was calibrated, and its bundle."""
    detector = DETECTORS[request.param]()
    detector.fit(make_signals(200, 1).domain(detector.domain))
    parts = calibrate_guard(
        detector, request.param, make_signals(200, 2), make_signals(399, 3), anchors=anchors, exporter=OnnxExporter(),
        alpha=0.05,
    )  # fmt: skip
    return parts, export_guard(parts, OnnxExporter(), tmp_path_factory.mktemp("guard") / "bundle")


def changed(content, rng):
    """The graph with one number of a constant or of a tree replaced."""
    model = onnx.load_from_string(content)
    arrays = [x for x in model.graph.initializer if x.data_type == onnx.TensorProto.FLOAT]
    trees = [a for n in model.graph.node for a in n.attribute if a.name in ("nodes_values", "target_weights")]
    sizes = np.array([*(len(x.raw_data) // 4 for x in arrays), *(len(a.floats) for a in trees)])
    which = rng.choice(len(sizes), p=sizes / sizes.sum())
    at = int(rng.integers(sizes[which]))
    if which >= len(arrays):
        attribute = trees[which - len(arrays)]
        attribute.floats[at] = other(attribute.floats[at], rng)
    else:
        values = np.frombuffer(arrays[which].raw_data, "<f4").copy()
        values[at] = other(values[at], rng)
        arrays[which].raw_data = values.tobytes()
    return model.SerializeToString()


def other(old, rng):
    """Another number: huge, of another sign, of another size, or with one bit flipped."""
    match rng.integers(4):
        case 0:
            return np.float32(rng.choice([-1, 1]) * 10.0 ** rng.integers(3, 37))
        case 1:
            return np.float32(-old)
        case 2:
            with np.errstate(over="ignore"):
                return np.float32(old * 2 ** rng.normal(0, 4))
        case _:
            return (np.float32(old).view(np.uint32) ^ np.uint32(1 << rng.integers(32))).view(np.float32)


def verdicts(run, name, values, threshold):
    """[N] 0 clear, 1 flagged, 2 not judged, of whole signals [N, T, C]."""
    inputs = {"signals": values}
    if name == "prefix":
        inputs["length"] = np.arange(len(values), dtype=np.int64) % values.shape[1] + 1
    score, valid = run(["score", "valid"], inputs)
    return np.where(valid & (np.abs(score) < 3e38), score > threshold, 2)


def test_a_changed_number_that_flips_a_verdict_is_found(guard, make_signals):
    parts, bundle = guard
    seen = make_signals(300, 7), make_signals(100, 8, dip=3)
    values = np.concatenate([signals.domain(parts.detector.domain) for signals in seen])
    rng = np.random.default_rng(0)
    flipping = found = 0
    for name, threshold in (("signal", parts.final.value), ("prefix", parts.online.value)):
        before = verdicts(load_graphs(bundle, [name])[name], name, values, threshold)
        for _ in range(CHANGES):
            try:
                run = load(changed(bundle.graph(name), rng), name, bundle.manifest.graphs[name])
                if (verdicts(run, name, values, threshold) == before).all():
                    continue
            except BundleError:
                continue  # Refused anyway.
            flipping += 1
            try:
                self_test(bundle, {name: run})
            except BundleError:
                found += 1
    assert flipping > 20
    # A branch of a tree that moves a little shows only in rows that lie between its old place and the new one.
    assert found >= (0.9 if parts.detector_name == "isolation-forest" else 1) * flipping


def test_every_length_and_every_kind_of_number_is_asked(guard):
    parts, bundle = guard
    assert set(range(1, 33)) <= set(bundle.manifest.golden["prefix"].inputs["length"].unpack().tolist())
    for name in ("signal", "prefix"):
        noticed = parts.noticed[name]
        assert noticed.share > 0.9
        assert (noticed.learnt > 0) == (parts.detector_name == "isolation-forest")
        # What nothing moves lies behind units of the autoencoder that no signal opens.
        assert not noticed.unmoved or parts.detector_name == "autoencoder"


def test_what_does_nothing_is_named(anchors, make_signals):
    class Idle(ToyDetector):
        """Has weights on how far sigma is above 5, where it never is."""

        def export(self, graph, signals):
            above = graph.relu(signals - 5.0) * np.ones((32, 1), np.float32)
            return super().export(graph, signals) + graph.reduce_sum(above, [1, 2])

    parts = calibrate_guard(
        Idle().fit(make_signals(200, 1).sigma), "idle", make_signals(200, 2), make_signals(399, 3), anchors=anchors,
        exporter=OnnxExporter(), alpha=0.05,
    )  # fmt: skip
    assert list(parts.noticed["signal"].unmoved.values()) == [32]
    assert list(parts.noticed["prefix"].unmoved.values()) == [32]


def test_the_bundle_stays_small_and_the_same_guard_gives_the_same_bytes(guard, tmp_path):
    parts, bundle = guard
    assert export_guard(parts, OnnxExporter(), tmp_path / "bundle").members == bundle.members
    assert len(bundle.unlisted["manifest.json"]) < 150_000


@pytest.mark.parametrize("shape", [(1, 1), (32, 1), (32, 33), (256, 33), (4096, 64)])
def test_golden_signals_have_room_for_some_rows_and_stay_below_a_megabyte(shape):
    rows = room(shape)
    assert FEWEST <= rows <= MOST
    assert rows == FEWEST or rows * shape[0] * shape[1] * 4 <= SIZE


def test_a_constant_can_be_replaced_from_call_to_call(guard):
    _, bundle = guard
    graph = Adjustable.of(bundle.graph("signal"), "signal")
    inputs = {"signals": bundle.manifest.golden["signal"].inputs["signals"].unpack()}
    usual = graph.run.session_run(["score"], inputs)[0]
    assert (usual == load_graphs(bundle, ["signal"])["signal"](["score"], inputs)[0]).all()
    for name, array in graph.constants.items():
        assert (graph.run.session_run(["score"], {**inputs, name: array})[0] == usual).all()
