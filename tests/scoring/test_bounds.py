"""Portable bundles that ask for much: they open, or are refused, within a few megabytes and two seconds."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.errors import BundleError
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.inspect.work import MOST_BYTES, MOST_TIME
from sri_sdk.scoring.runtime import MEMORY, load, score_once
from sri_sdk.scoring.scorer import Scorer

from . import crafted, fuzz
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
    "sorting 8,192 of 8,192": lambda: crafted.sorts(),
    "sorting two of a million": lambda: crafted.sorts(2**15, 2),
    "sorting again and again": lambda: crafted.sorts(tensors=12),
    "64 MB of one constant": lambda: crafted.carrying(2**24),
    "12 MB of one constant": lambda: crafted.carrying(3 * 10**6),
    "30 MB of trees": lambda: crafted.leaves(2**20),
    "most trees": lambda: crafted.leaves(110_000),
    "64 MB of support vectors": lambda: crafted.support_vectors(
        n_supports=400_000, coefficients=[1.0] * 400_000, support_vectors=[0.5] * (32 * 400_000)
    ),
    "64 MB of text": lambda: crafted.plain(doc_string="x" * 2**26),
    "4 MB of text": lambda: crafted.plain(doc_string="x" * (2**22 - 2**10)),
    "4,000 nodes": lambda: crafted.long_chain(4000, 1),
    "100,000 nodes": lambda: crafted.long_chain(100_000, 1),
    "4,000 long names": lambda: crafted.carrying(1, times=4000, name="x" * 900),
}
"""Graphs by name."""
FILLED = {
    "62 MB in one text": '"' + "x" * (62 * 2**20) + '"',
    "15 MB in one text": '"' + "x" * (15 * 2**20) + '"',
    "15 MB of escapes": '"' + "\\u00e9" * (15 * 2**20 // 6) + '"',
    "15 MB of quotes": '"' + '\\"' * (15 * 2**19) + '"',
    "15 MB of brackets in a text": '"' + "[" * (15 * 2**20) + '"',
    "15 MB of empty lists": "[" + "[]," * (5 * 2**20) + "1]",
    "15 MB of numbers": "[" + "1," * (15 * 2**19) + "1]",
    "15 MB of spaces": " " * (15 * 2**20) + "1",
}
"""What a manifest has as `provenance`, by name."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", DEMANDING)
def test_a_portable_bundle_opens_or_is_refused_in_bounded_memory_and_time(plant, fitted, name):  # noqa: F811
    bounded(plant(DEMANDING[name]()), fitted, *(["500"] if name == "one wide tensor" else []))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", FILLED)
def test_a_large_manifest_is_read_or_refused_in_bounded_memory_and_time(guard_copy, fitted, name):
    folder = guard_copy / "bundle"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["anchors"]["provenance"] = {"filled": "@"}
    (folder / "manifest.json").write_bytes(fuzz.with_digest(manifest, lambda text: text.replace('"@"', FILLED[name])))
    bounded(folder, fitted)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_two_graphs_and_a_manifest_at_their_limits_together_stay_within_the_bounds(guard_copy, fitted):
    folder = guard_copy / "bundle"
    members = Bundle.read(folder).members
    for name in ("signal.onnx", "prefix.onnx"):
        model = onnx.load_from_string(members[name])
        model.graph.initializer.extend(crafted.carrying(2_900_000).graph.initializer[-1:])
        members[name] = model.SerializeToString()
    manifest = json.loads(members["manifest.json"])
    manifest["anchors"]["provenance"] = {"filled": "x" * (15 * 2**20)}
    for name, content in fuzz.hashed(members, manifest).items():
        (folder / name).write_bytes(content)
    (folder / "model.sig").write_bytes(b"x" * 2**20)
    bounded(folder, fitted)
    assert Scorer.open(folder)


def bounded(folder, fitted, *rows):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(fitted.path), *rows]
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
