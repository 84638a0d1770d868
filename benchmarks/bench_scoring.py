"""What a verdict costs beside the bare call into onnxruntime, and what numpy alone would take."""

import numpy as np
import pytest
from guards import CELLS, made_up_fingerprint, made_up_guard, made_up_signals
from paired import race

from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer, load_graphs

WIDTH = 128


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
