"""The signal of whole generations, T = 32: ours, several ways, against the usual loop of a research script.

The floor is what any implementation must read: the states once, and both anchors once. `triad` is the memory speed of
the very same amount of bytes (a = b + s * c, as in STREAM), so what fits into a cache is compared with that cache.
"Row by row" does a batch one generation at a time, so that its temporaries stay in the cache; numpy's reference works
in blocks of that size anyway. "Kept anchors" are unit vectors already, as a guard keeps them; the reference makes them
anew in every call, torch and the graph do not. The graph also holds the detector. "Streamed" are the paths of `watch`
on the CPU: one step of all rows at a time, as for the rule `online`, and all steps in one call at the end (`final`).
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from guards import CELLS, made_up_anchors, made_up_fingerprint, made_up_signals
from paired import race
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.guard_graphs import full_graph
from sri_sdk.capture.device_signal import device_sri, device_unit
from sri_sdk.capture.stream import SignalStream
from sri_sdk.grid import StepGrid
from sri_sdk.scoring.runtime import load
from sri_sdk.signal import EPS, TAU, UnitAnchors, sigmoid, sri, sri_logits

LARGE = 256 * 2**20
"""Bytes of each array of the triad that no cache of usual size holds."""
TITLES = {
    "numpy": "numpy reference", "kept": "numpy, kept anchors", "torch": "torch", "graph": "`full` graph",
    "stream": "streamed step by step", "many": "streamed, all steps at once",
    "torch, rows": "torch, row by row", "graph, rows": "`full` graph, row by row",
}  # fmt: skip


def research_loop(phi: torch.Tensor, harmless: torch.Tensor, harmful: torch.Tensor) -> np.ndarray:
    """[B, T, D] states -> [B, T] sigma, a step at a time, as published scripts do it."""
    sigma = np.empty(phi.shape[:2], dtype=np.float32)
    for row in range(len(phi)):
        for t in range(phi.shape[1]):
            towards_answer = 1 - F.cosine_similarity(phi[row, t], harmless[t], dim=0).item()
            towards_refusal = 1 - F.cosine_similarity(phi[row, t], harmful[t], dim=0).item()
            logit = (math.log(towards_refusal + EPS) - math.log(towards_answer + EPS)) / TAU
            sigma[row, t] = 1 / (1 + math.exp(-logit))
    return sigma


def stream(anchors: Anchors, phi: torch.Tensor, *, at_once: bool = False) -> np.ndarray:
    """The path of `watch` on the CPU for states [S, R, C, D]: a step at a time, or all at once."""
    requests = phi.shape[1]
    signals = SignalStream(anchors, StepGrid(CELLS, "step", CELLS), requests, tau=TAU, eps=EPS)
    before = np.repeat(np.arange(CELLS)[:, None], requests, axis=1)
    active = np.ones(before.shape, dtype=np.bool_)
    if at_once:
        signals.add_many(list(phi), before, before + 1, active)
    else:
        for t in range(CELLS):
            signals.add(phi[t], before[t], before[t] + 1, active[t])
    signals.finish(active[0])
    return signals.sigma


def triad(size: int) -> Callable[[], torch.Tensor]:
    """a = b + s * c over three arrays of `size` bytes together."""
    a, b, c = (torch.ones(size // 12) for _ in range(3))
    return lambda: torch.add(b, c, alpha=3.0, out=a)


@pytest.fixture(scope="module")
def detector() -> AutoencoderDetector:
    signals = made_up_signals(64, 1)
    return AutoencoderDetector(AutoencoderDetector.Config(epochs=5)).fit(signals.sigma)


@pytest.mark.parametrize("width", [128, 4096])
@pytest.mark.parametrize("batch", [1, 32])
def bench_signal(benchmark, report, detector, batch, width):
    anchors = made_up_anchors(made_up_fingerprint(width))
    noise = np.random.default_rng(1).normal(size=(batch, CELLS, 1, width)).astype(np.float32)
    phi = (anchors.harmless + anchors.harmful) / 2 + 0.3 * noise
    on_device = torch.from_numpy(phi)
    harmless, harmful = torch.from_numpy(anchors.harmless), torch.from_numpy(anchors.harmful)
    unit_harmless, unit_harmful = device_unit(harmless), device_unit(harmful)
    pair, by_step = UnitAnchors(anchors.harmless, anchors.harmful).pair, on_device.swapaxes(0, 1).contiguous()
    graph = load(OnnxExporter().compile(full_graph(detector, anchors)), "graph full")
    floor = phi.nbytes + anchors.harmless.nbytes + anchors.harmful.nbytes

    def reference() -> np.ndarray:
        return sri(phi, anchors.harmless, anchors.harmful).sigma

    def kept() -> np.ndarray:
        return sigmoid(sri_logits(phi, pair))

    def device() -> np.ndarray:
        return device_sri(on_device, unit_harmless, unit_harmful)[0].numpy()

    def full() -> np.ndarray:
        return graph(["sigma", "score", "valid"], {"activations": phi})[0]

    def loop() -> np.ndarray:
        return research_loop(on_device[:, :, 0], harmless[:, 0], harmful[:, 0])

    def streamed() -> np.ndarray:
        return stream(anchors, by_step)

    def at_once() -> np.ndarray:
        return stream(anchors, by_step, at_once=True)

    expected = reference()
    assert np.ptp(expected) > 0.01
    for other in (kept, device, full, streamed, at_once):
        np.testing.assert_allclose(other(), expected, atol=1e-5)
    np.testing.assert_allclose(loop(), expected[..., 0], atol=2e-3)  # its 1 - cos loses digits

    def by_row(states, measure: Callable) -> Callable[[], list]:
        return lambda: [measure(states[row : row + 1]) for row in range(batch)]

    ours = {"numpy": reference, "kept": kept, "torch": device, "graph": full, "stream": streamed, "many": at_once}
    if batch > 1:
        ours |= {
            "torch, rows": by_row(on_device, lambda row: device_sri(row, unit_harmless, unit_harmful)),
            "graph, rows": by_row(phi, lambda row: graph(["sigma", "score", "valid"], {"activations": row})),
        }
    memory = {"same": triad(floor), "large": triad(3 * LARGE)} if width == 4096 else {"same": triad(floor)}
    seconds = race(benchmark, {**ours, "loop": loop, **memory}, rounds=20 if batch == 32 else 30)
    where = f"D={width}, B={batch}"
    for name in ours:
        rate = floor / np.median(seconds[name]) / 1e9
        report(f"{where}: loop / {TITLES[name]}", seconds["loop"] / seconds[name], note=f"{rate:.2g} GB/s of the floor")
    best = min(ours, key=lambda name: np.median(seconds[name]))
    speed = floor / np.median(seconds["same"]) / 1e9
    beyond = f", {3 * LARGE / np.median(seconds['large']) / 1e9:.3g} GB/s beyond the caches" if width == 4096 else ""
    report(
        f"{where}: share of the memory speed, {TITLES[best]}", 100 * seconds["same"] / seconds[best], "%",
        f"floor {floor / 2**20:.3g} MiB; triad {speed:.3g} GB/s at that size{beyond}",
    )  # fmt: skip
