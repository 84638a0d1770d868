"""What a verdict costs beside the bare call into onnxruntime, what numpy alone would take, and what beginning costs."""

import subprocess
import sys

import numpy as np
import pytest
from guards import CELLS, made_up_fingerprint, made_up_guard, made_up_signals
from paired import race
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector
from sri_plugin_detectors.few_label import FewLabelDetector
from sri_plugin_detectors.gaussian_mixture import GaussianMixtureDetector
from sri_plugin_detectors.hesitation import HesitationDetector
from sri_plugin_detectors.isolation_forest import IsolationForestDetector
from sri_plugin_detectors.logistic import LogisticDetector
from sri_plugin_detectors.mahalanobis import MahalanobisDetector
from sri_plugin_detectors.nearest_neighbours import NearestNeighboursDetector
from sri_plugin_detectors.one_class_svm import OneClassSvmDetector
from sri_plugin_detectors.request import RequestDetector

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.records import Signals
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.runtime import load_own
from sri_sdk.scoring.scorer import Scorer, load_graphs

WIDTH = 128
DETECTORS = {
    "autoencoder": AutoencoderDetector(AutoencoderDetector.Config(epochs=20)),
    "few-label": FewLabelDetector(), "gaussian-mixture": GaussianMixtureDetector(),
    "hesitation": HesitationDetector(), "isolation-forest": IsolationForestDetector(),
    "logistic": LogisticDetector(), "mahalanobis": MahalanobisDetector(),
    "nearest-neighbours": NearestNeighboursDetector(), "one-class-svm": OneClassSvmDetector(),
    "request": RequestDetector(),
}  # fmt: skip


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    return made_up_guard(made_up_fingerprint(WIDTH), tmp_path_factory.mktemp("guard"))


@pytest.mark.parametrize("batch", [1, 32, 1024])
def bench_scoring(benchmark, report, guard, batch):
    bundle, detector = guard
    scorer, runs = Scorer.open(bundle.path), load_graphs(bundle, ("signal", "prefix"))
    signals: Signals = made_up_signals(batch, 4, bundle.manifest.fingerprint)
    values = np.ascontiguousarray(signals.domain(bundle.manifest.signal.domain))
    lengths = np.arange(batch, dtype=np.int64) % CELLS + 1
    outputs = ["score", "valid"]

    bare, _ = runs["signal"](outputs, {"signals": values})
    np.testing.assert_allclose(detector.score(values), bare, rtol=1e-4, atol=1e-5)
    assert [v.score for v in scorer.score(signals) if v.score is not None] == pytest.approx(bare.tolist())

    seconds = race(
        benchmark,
        {
            "score_final": lambda: scorer.score_final(values),
            "bare signal": lambda: runs["signal"](outputs, {"signals": values}),
            "score_prefix": lambda: scorer.score_prefix(values, lengths),
            "bare prefix": lambda: runs["prefix"](outputs, {"signals": values, "length": lengths}),
            "verdicts": lambda: scorer.score(signals),
            "verdicts online": lambda: scorer.score(signals, rule="online"),
            "numpy": lambda: detector.score(values),
        },
        rounds=100,
    )
    final, prefix = seconds["bare signal"], seconds["bare prefix"]
    report(f"B={batch}: score_final / bare call", seconds["score_final"] / final)
    report(f"B={batch}: score_prefix / bare call", seconds["score_prefix"] / prefix)
    report(f"B={batch}: detector in numpy / bare call", seconds["numpy"] / final)
    report(f"B={batch}: Scorer.score, final rule / bare call", seconds["verdicts"] / final, note="Signals to Verdicts")
    report(
        f"B={batch}: Scorer.score, online rule / bare call", seconds["verdicts online"] / prefix,
        note=f"scores {CELLS} lengths per row; the bare call scores one",
    )  # fmt: skip


# -- detectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 256])
def bench_detectors(benchmark, report, batch):
    """One call of the graph `signal` of every first-party detector, in turn; the autoencoder is the unit."""
    printed = made_up_fingerprint(WIDTH).to_dict()
    train, attacks = made_up_signals(300, 1, printed), made_up_signals(30, 5, printed)
    contenders, sizes = {}, {}
    for name, detector in DETECTORS.items():
        scored = made_up_signals(batch, 4, printed).domain(detector.domain)
        values, labels = train.domain(detector.domain), None
        if detector.labels != "ignored":
            # Not attacks of any kind: what is learnt is not what this costs.
            values = np.concatenate([values, attacks.domain(detector.domain) - 2])
            labels = np.repeat([0, 1], [len(train), len(attacks)])
        detector.fit(values, labels)
        content = OnnxExporter().compile(signal_graph(detector, CELLS, 1))
        run, sizes[name] = load_own(content, name), len(content)
        np.testing.assert_allclose(run(["score"], {"signals": scored})[0], detector.score(scored), rtol=1e-3, atol=1e-3)
        contenders[name] = lambda run=run, scored=scored: run(["score", "valid"], {"signals": scored})
    seconds = race(benchmark, contenders, rounds=40)
    for name, each in seconds.items():
        ratio = each / seconds["autoencoder"]
        report(f"B={batch}: {name} / autoencoder", ratio, note=f"graph {sizes[name] / 1000:.1f} kB")


# -- beginning -------------------------------------------------------------------------------------------------

SPENT = """
import time
print(next(int(x.split()[1]) / 1024 for x in open("/proc/self/status") if x.startswith("VmHWM")), time.process_time())
"""
BARE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
onnxruntime.InferenceSession(open(sys.argv[1] + "/signal.onnx", "rb").read(), options, ["CPUExecutionProvider"])
"""
SCORER = """
import sys
from sri_sdk.scoring.scorer import Scorer
Scorer.open(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def bench_beginning(benchmark, report, guard):
    """A new process, up to a scorer that is ready; the bare one imports numpy and onnxruntime and opens one graph."""
    spent: dict[str, list[tuple[float, float]]] = {"bare": [], "scorer": []}

    def begin(name: str, program: str) -> None:
        command = [sys.executable, "-c", program + SPENT, str(guard[0].path)]
        megabytes, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        spent[name].append((float(megabytes), float(seconds)))

    seconds = race(
        benchmark, {"scorer": lambda: begin("scorer", SCORER), "bare": lambda: begin("bare", BARE)}, rounds=12
    )
    report("process to a ready scorer / bare process", seconds["scorer"] / seconds["bare"])
    report("process to a ready scorer", 1000 * seconds["scorer"], unit="ms", note="aim: below 600 ms")
    for name, pairs in spent.items():
        memory, processor = np.array(pairs).T
        report(f"{name}: memory", memory, unit=" MB", note="aim for the scorer: below 100 MB")
        report(f"{name}: processor time", 1000 * processor, unit="ms", note="what a busy machine changes least")


def bench_opening(benchmark, report, guard):
    """Parts of `Scorer.open` in a process that has imported everything."""
    bundle, _ = guard
    subject, tier = "bench", bundle.manifest.detector.tier
    seconds = race(
        benchmark,
        {
            "open": lambda: Scorer.open(bundle.path),
            "read": lambda: Bundle.read(bundle.path),
            "graphs": lambda: load_graphs(bundle, ("signal", "prefix")),
            "inspect signal": lambda: inspect(bundle.graph("signal"), subject, bundle.manifest.graphs["signal"], tier),
            "inspect prefix": lambda: inspect(bundle.graph("prefix"), subject, bundle.manifest.graphs["prefix"], tier),
        },
        rounds=60,
    )
    both = seconds["inspect signal"] + seconds["inspect prefix"]
    report("reading and hashing / opening", seconds["read"] / seconds["open"])
    report("inspecting both graphs / opening", both / seconds["open"])
    report("inspecting both graphs / inspecting and loading them", both / seconds["graphs"])
    report("inspecting the graph `signal`", 1000 * seconds["inspect signal"], unit="ms", note="aim: below 1 ms")
    report("opening", 1000 * seconds["open"], unit="ms")
