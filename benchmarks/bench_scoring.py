"""What a verdict costs beside the bare call into onnxruntime, what numpy alone would take, and what beginning costs."""

import subprocess
import sys
import time

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
from sri_sdk.scoring.runtime import CHUNK, load_own
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
    every = np.repeat(values, CELLS, axis=0), np.tile(np.arange(1, CELLS + 1, dtype=np.int64), batch)
    calls = [[part[at : at + CHUNK] for part in every] for at in range(0, batch * CELLS, CHUNK)]

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
            "verdicts, looked at": lambda: list(scorer.score(signals)),
            "bare prefixes": lambda: [runs["prefix"](outputs, {"signals": x, "length": n}) for x, n in calls],
            "verdicts online": lambda: scorer.score(signals, rule="online"),
            "verdicts online, looked at": lambda: list(scorer.score(signals, rule="online")),
            "numpy": lambda: detector.score(values),
        },
        rounds=100,
        clock=time.thread_time,
    )
    final, prefix, floor = seconds["bare signal"], seconds["bare prefix"], seconds["bare prefixes"]
    report(f"B={batch}: score_final / bare call", seconds["score_final"] / final)
    report(f"B={batch}: score_prefix / bare call", seconds["score_prefix"] / prefix)
    report(f"B={batch}: detector in numpy / bare call", seconds["numpy"] / final)
    for looked_at, note in (("", "aim from 32 on: 1.5x"), (", looked at", "every `Verdict` made")):
        report(
            f"B={batch}: Scorer.score{looked_at}, final rule / bare call", seconds[f"verdicts{looked_at}"] / final,
            note=note,
        )  # fmt: skip
    for looked_at, note in (("", "aim: 2x"), (", looked at", "every `Verdict` made")):
        report(
            f"B={batch}: Scorer.score{looked_at}, online rule / bare calls of all {CELLS} lengths",
            seconds[f"verdicts online{looked_at}"] / floor, note=note,
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
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
megabytes = next(int(x.split()[1]) / 1024 for x in open("/proc/self/status") if x.startswith("VmHWM"))
print(megabytes, used.ru_utime + used.ru_stime)
"""
PROGRAMS = {
    "python": "",
    "import sri_sdk": "import sri_sdk",
    "bare": """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
content = open(sys.argv[1] + "/signal.onnx", "rb").read()
session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
session.run(["score", "valid"], {"signals": numpy.full((1, int(sys.argv[2]), 1), 0.9, numpy.float32)})
""",
    "scorer": """
import sys, numpy, sri_sdk
scorer = sri_sdk.Scorer.open(sys.argv[1])
values = numpy.full((1, int(sys.argv[2]), 1), 0.9, numpy.float32)
scorer.score(sri_sdk.Signals(("a",), values, values), unverified=True)[0]
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def bench_beginning(benchmark, report, guard):
    """New processes, up to the first verdict; the bare one imports numpy and onnxruntime, and runs one graph once."""
    spent: dict[str, list[list[float]]] = {name: [] for name in PROGRAMS}

    def begin(name: str) -> None:
        command = [sys.executable, "-c", PROGRAMS[name] + SPENT, str(guard[0].path), str(CELLS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        spent[name].append([float(each) for each in done.stdout.split()])

    rounds = 24
    race(benchmark, {name: lambda name=name: begin(name) for name in ("scorer", *PROGRAMS)}, rounds=rounds)
    megabytes, seconds = ({n: np.array(each)[-rounds:, column] for n, each in spent.items()} for column in (0, 1))
    imported = 1000 * (seconds["import sri_sdk"] - seconds["python"])
    report("`import sri_sdk`: processor time", imported, unit="ms", note="over Python alone; aim: at most 100 ms")
    more = 1000 * (seconds["scorer"] - seconds["bare"])
    report("load and first score: processor time", more, unit="ms", note="over onnxruntime alone; aim: at most 350 ms")
    report("load and first score / onnxruntime alone", seconds["scorer"] / seconds["bare"])
    report("load and first score: memory", megabytes["scorer"] - megabytes["bare"], unit=" MB",
           note="over onnxruntime alone; aim: at most 60 MB")  # fmt: skip
    for name in ("bare", "scorer"):
        report(f"{name}: processor time", 1000 * seconds[name], unit="ms")
        report(f"{name}: memory", megabytes[name], unit=" MB")


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
