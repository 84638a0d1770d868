"""Portable bundles that ask for much: they open, or are refused, within a few megabytes and two seconds."""

import subprocess
import sys

import numpy as np
import pytest

from sri_sdk.errors import BundleError
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.inspect.work import MOST_BYTES, MOST_TIME
from sri_sdk.scoring.runtime import MEMORY, load, score_once

from . import crafted
from .test_hostile import plant  # noqa: F401

PROGRAM = """
import sys, time
import numpy as np, onnxruntime
from sri_sdk.errors import BundleError
from sri_sdk.scoring.scorer import Scorer
peak = lambda: next(int(x.split()[1]) / 1024 for x in open("/proc/self/status") if x.startswith("VmHWM"))
Scorer.open(sys.argv[2])
base, start = peak(), time.process_time()
try:
    Scorer.open(sys.argv[1])
except BundleError as err:
    print(err)
try:
    scorer = Scorer.open(sys.argv[1], verify=False)
    took = time.process_time() - start
    cells = scorer.manifest.signal.cells
    if len(sys.argv) > 3:
        scorer.score_final(np.full((int(sys.argv[3]), cells, 1), 0.5, np.float32))
except BundleError as err:
    took = time.process_time() - start
    print(err)
print(peak() - base, took)
"""

DEMANDING = {
    "one wide tensor": lambda: crafted.wide(),
    "thirteen wide tensors": lambda: crafted.wide(tensors=13),
    "4,000 products": lambda: crafted.long_chain(),
    "64 products": lambda: crafted.long_chain(64, 1024),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", DEMANDING)
def test_a_portable_bundle_opens_or_is_refused_in_bounded_memory_and_time(plant, fitted, name):  # noqa: F811
    rows = ["500"] if name == "one wide tensor" else []
    command = [sys.executable, "-c", PROGRAM, str(plant(DEMANDING[name]())), str(fitted.path), *rows]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, seconds = map(float, done.stdout.splitlines()[-1].split())
    assert megabytes < 200
    assert seconds < 2


def test_tensors_count_together_whatever_their_order_in_the_file():
    content = crafted.wide(2**18, tensors=40).SerializeToString()
    with pytest.raises(BundleError, match="per row, allowed: up to"):
        inspect(content, "some.onnx")


def test_products_are_counted_before_any_is_run():
    with pytest.raises(BundleError, match="ns per row, allowed: up to"):
        inspect(crafted.long_chain(4000, 1024).SerializeToString(), "some.onnx")


def test_the_shipped_detectors_stay_orders_below_the_limits(fitted):
    for name in ("signal", "prefix"):
        work = inspect(fitted.graph(name), name)
        assert work.size * 100 < MOST_BYTES
        assert work.time * 100 < MOST_TIME


def test_rows_beyond_the_memory_of_one_call_are_scored_in_parts_and_in_order():
    run = load(crafted.wide().SerializeToString(), "some.onnx")
    assert run.rows * run.work.size <= MEMORY
    signals = np.arange(3 * run.rows + 1, dtype=np.float32)[:, None, None].repeat(crafted.CELLS, axis=1)
    (score,) = run(["score"], {"signals": signals})
    assert (np.diff(score) > 0).all() and len(score) == len(signals)


def test_what_onnxruntime_raises_becomes_an_error_that_names_the_graph():
    run = load(crafted.plain().SerializeToString(), "some.onnx")
    with pytest.raises(BundleError, match=r"some\.onnx: onnxruntime fails on 2 rows"):
        score_once(run, {"signals": np.zeros((2, 9, 9), np.float64)})
