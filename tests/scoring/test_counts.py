"""What scoring costs, in counts that a busy machine does not change; benchmarks/bench_scoring.py has the times."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.counting import Frames, counted
from tests.scoring import parted

ROWS = 1024
NEVER_SCORING = (
    "torch", "transformers", "sklearn", "scipy", "onnx", "pandas", "datasets", "accelerate", "safetensors", "skl2onnx",
    "pydantic", "yaml", "click", "stevedore", "cryptography", "sqlalchemy", "httpx", "requests", "uvicorn",
    "importlib.metadata", "email", "asyncio", "multiprocessing", "subprocess", "zipfile",
    "sri_sdk.plugin", "sri_sdk.detector", "sri_sdk.anchors", "sri_sdk.policy", "sri_sdk.bundle.guard_graphs",
)  # fmt: skip
SCORE = """
import sys
import sri_sdk
import numpy as np

scorer = sri_sdk.Scorer.open(sys.argv[1])
values = np.full((1, 32, 1), 0.9, np.float32)
for rule in ("final", "online"):
    print([v.status for v in scorer.score(sri_sdk.Signals(("a",), values, values), rule=rule, unverified=True)])
loaded = sorted(set(sys.argv[2:]) & set(sys.modules))
assert not loaded, loaded
"""


def test_a_process_that_scores_loads_nothing_else(fitted):
    command = [sys.executable, "-c", SCORE, str(fitted.path), *NEVER_SCORING]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("clear") == 2


@pytest.fixture(params=["one score", "parts"])
def score(request, scorer, make_signals):
    """score(signals, rule), with 16 signals and 1,024, a few of them alarms and unreadable ones."""
    if request.param == "one score":
        found = make_signals(ROWS, 7)
        found.sigma[::50] = 0.1
        found.sigma[::70, 3] = np.nan
        return scorer.score, found.take(np.arange(16)), found
    columns, parts = ("sri@0", "request"), {"harm": ("request",), "novelty": ("sri@0",)}
    two = parted.scorer_of(parted.bundle(scorer.bundle, parts, columns=columns, groups=("de", "en")))
    found = parted.signals(5, ROWS, columns=columns, groups=("de", None) * (ROWS // 2))
    found.sigma[:, :, 0] = 0.85
    found.sigma[::50, :, 1] = 0.1
    found.sigma[::70, 3, 0] = np.nan
    found = replace(found, lengths=np.full(ROWS, parted.CELLS), fingerprint=two.manifest.fingerprint)
    return two.score, found.take(np.arange(16)), found


@pytest.mark.parametrize("rule", ["final", "online"])
def test_python_runs_per_call_and_not_per_generation(score, rule):
    judge, few, many = score
    little, much = (counted(Frames, lambda each=each: judge(each, rule=rule)) for each in (few, many))
    # Online, all prefixes take several calls of onnxruntime.
    assert much - little < 0.1 * ROWS, f"{little} functions are entered for 16 generations, {much} for {ROWS}"


@pytest.mark.parametrize("rule", ["final", "online"])
def test_making_the_verdicts_runs_python_only_for_alarms_and_what_was_not_read(score, rule):
    judge, _, many = score
    found = judge(many, rule=rule)
    unclear = ROWS - found.statuses.count("clear")
    assert 20 < unclear < 100
    assert counted(Frames, lambda: list(found)) < 0.7 * ROWS
