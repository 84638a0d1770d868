"""The Node package: its own tests, Python's verdicts, and Python's opinion of damaged graphs."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sri_exporter_onnx.to_onnx import to_onnx

from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import Graph
from sri_sdk.scoring.inspect.inspector import inspect
from tests.runtimes import parted_files
from tests.runtimes.lying import LIES, lying_bundle, lying_signals
from tests.scoring import crafted

pytestmark = pytest.mark.timeout(900)

VECTORS = Path(__file__).parents[3] / "exporters/onnx/runtimes/vectors"
MUTANTS = int(os.environ.get("SRI_MUTANTS", "300"))
"""Damaged copies of each graph; the same generator gives as many as are asked for."""


@pytest.fixture(scope="module")
def node(packages: Callable[[str], Path]) -> Path:
    return packages("node")


def test_its_own_tests_pass(node: Path) -> None:
    files = sorted(str(file) for file in (node / "test").glob("*.test.js"))
    done = subprocess.run(["node", "--test", *files], cwd=node, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.lstrip().startswith("not ok")]
    assert done.returncode == 0, "\n".join([*failed, done.stdout[-4000:], done.stderr])
    assert "# skipped 0" in done.stdout


def test_its_sources_and_declarations_have_the_types_they_say(node: Path) -> None:
    done = subprocess.run(["node_modules/.bin/tsc", "-p", "."], cwd=node, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "form", "rule", "backend"),
    [
        ("autoencoder", "npz", "final", "native"),
        ("autoencoder", "jsonl", "online", "wasm"),
        ("isolation-forest", "jsonl", "final", "native"),
        ("isolation-forest", "npz", "online", "wasm"),
        ("mahalanobis", "npz", "online", "native"),
        ("mahalanobis", "jsonl", "final", "wasm"),
    ],
)
def test_its_command_line_prints_the_verdicts_of_python(
    node: Path, files: Path, name: str, form: str, rule: str, backend: str
) -> None:
    bundle, key = VECTORS / name / "bundle", VECTORS / "key.pub"
    done = _score(node, bundle, files / f"{name}.{form}", "--rule", rule, "--backend", backend, "--public-key", key)
    assert done.returncode == 0, done.stderr
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    theirs = json.loads((files / f"{name}.json").read_text(encoding="utf-8"))[rule]
    for found, expected in zip(ours, theirs, strict=True):
        assert list(found) == list(expected["verdict"])
        for field, value in expected["verdict"].items():
            low, high = expected["ranges"].get(field, (None, None))
            assert found[field] == value if low is None else low <= found[field] <= high, (found, expected)


@pytest.mark.parametrize("name", parted_files.BUNDLES)
def test_its_command_line_prints_the_verdicts_of_python_on_every_part(node: Path, parted: Path, name: str) -> None:
    folder = parted / name
    for rule, theirs in json.loads((folder / "verdicts.json").read_text(encoding="utf-8")).items():
        done = _score(node, folder / "bundle", folder / "signals.jsonl", "--rule", rule)
        assert done.returncode == 0, done.stderr
        ours = [json.loads(line) for line in done.stdout.splitlines()]
        assert [list(found) for found in ours] == [list(expected) for expected in theirs]
        for found, expected in zip(ours, theirs, strict=True):
            assert _flat(found) == pytest.approx(_flat(expected), abs=1e-5)


def _flat(verdict: dict[str, Any]) -> dict[str, Any]:
    """With texts for lists and keys for what parts say, because `approx` compares no nested values."""
    parts = {f"{part['name']} {key}": value for part in verdict["parts"] for key, value in part.items()}
    return {
        **verdict,
        "parts": None,
        "reasons": " ".join(verdict["reasons"]),
        "accepted": "".join(verdict["accepted"]),
    } | parts


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--digest", "0" * 64], 1, "BundleError"),
        (["--public-key", "package.json"], 1, "ConfigError"),
        (["--public-key", "/nonexistent.pub"], 1, "cannot be read"),
        (["--backend", "cuda"], 1, "allowed: native, wasm"),
        (["--rule", "sometimes"], 1, "allowed: final, online"),
        (["--what"], 2, "Unknown option"),
    ],
)
def test_its_command_line_refuses_in_one_line(
    node: Path, files: Path, arguments: list[str], code: int, message: str
) -> None:
    done = _score(node, VECTORS / "autoencoder/bundle", files / "autoencoder.npz", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("backend", ["native", "wasm"])
@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_score_that_is_no_number_is_unmonitored_although_the_graph_calls_it_valid(
    node: Path, tmp_path: Path, rule: str, backend: str
) -> None:
    ids, values = lying_signals(16)
    rows = [json.dumps({"id": name, "sigma": row.tolist()}) for name, row in zip(ids, values[..., 0], strict=True)]
    (tmp_path / "signals.jsonl").write_text("\n".join(rows))
    bundle = lying_bundle(tmp_path / "bundle")
    done = _score(node, bundle, tmp_path / "signals.jsonl", "--unverified", "--rule", rule, "--backend", backend)
    *lies, honest = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(v["status"], v["reasons"]) for v in lies] == [("unmonitored", ["score_not_finite"])] * len(LIES), done
    assert {v["score"] for v in lies} == {None} == {v["p_value"] for v in lies}
    assert honest["status"] in ("clear", "flagged") and "score_not_finite" not in honest["reasons"]


def test_damaged_graphs_are_refused_exactly_where_python_refuses_them_and_others_have_its_bounds(node: Path) -> None:
    graphs = [
        content
        for name, origin in _graphs().items()
        for content in [origin, *_mutants(origin, MUTANTS, seed=len(name))]
    ] + [made.SerializeToString() for made in _hostile()]
    ours = _opinions(node, graphs)
    assert len(ours) == len(graphs)
    assert not [opinion for opinion in ours if opinion.startswith("BUG")]
    differ = []
    for content, opinion in zip(graphs, ours, strict=True):
        try:
            work = inspect(content, "graph")
            theirs = f"ok {work.size} {work.time}" if work else "no bounds"
        except BundleError as err:
            theirs = str(err)
        if theirs != opinion and (theirs.startswith("ok") or opinion.startswith("ok")):
            differ.append((theirs, opinion))
    assert not differ, differ[:5]
    accepted = sum(opinion.startswith("ok") for opinion in ours)
    assert not any(opinion.startswith("ok") for opinion in ours[-len(_hostile()) :])
    # Both kinds must occur, or the comparison says nothing.
    assert len(graphs) * 0.02 < accepted < len(graphs) * 0.6, accepted


def _score(node: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["node", "bin/sri-score.js", *map(str, arguments)]
    return subprocess.run(command, cwd=node, capture_output=True, text=True)


def _opinions(node: Path, graphs: list[bytes]) -> list[str]:
    script = Path(__file__).with_name("inspect_many.mjs")
    lines = "\n".join(base64.b64encode(graph).decode() for graph in graphs)
    done = subprocess.run(
        ["node", str(script), str(node / "src/index.js")], input=lines, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def _graphs() -> dict[str, bytes]:
    """Graphs with every portable operator in them, by name."""
    drawn = {f"{file.parents[1].name}-{file.name}": file.read_bytes() for file in VECTORS.glob("*/bundle/*.onnx")}
    svm = crafted.support_vectors().SerializeToString()
    return {**drawn, "forest": _forest(), "svm": svm, "others": _others(), "casts": _casts()}


def _hostile() -> list[Any]:
    """What nobody should load, each with one more reason."""
    return [
        crafted.memory_bomb(), crafted.outer_bomb(), crafted.whole_division(),
        crafted.endless_loop(), crafted.external("../secret.bin"),
        crafted.deep_forest(20_000), crafted.plain(sets={"": 16}), crafted.plain(ir=9), crafted.plain(sets={"x": 1}),
        crafted.plain(inputs={"signals": (1, 4, 1)}),
    ]  # fmt: skip


def _forest() -> bytes:
    graph = Graph("signal")
    x = graph.input("signals", "float32", ("B", 6))
    y = graph.tree_ensemble(
        x, tree=[0, 0, 0, 1, 1, 1, 1, 1], feature=[2, 0, 0, 5, 1, 0, 0, 0],
        threshold=[0.5, 0, 0, 0.1, -1, 0, 0, 0], left=[1, -1, -1, 1, 2, -1, -1, -1],
        right=[2, -1, -1, 4, 3, -1, -1, -1], value=[0, 1, 2, 0, 0, 3, 4, 5],
    )  # fmt: skip
    graph.output("score", y * 2.0, ("B",))
    return to_onnx(graph)


def _others() -> bytes:
    """What detectors rarely draw: products of matrices, blocks, roots."""
    graph = Graph("signal")
    x = graph.input("signals", "float32", ("B", 4, 2))
    flat = graph.reshape(x, [0, 8])
    y = graph.gemm(flat, np.ones((8, 4)), np.ones(4)) @ np.ones((4, 2))
    z = graph.sqrt(graph.exp(y)) / graph.log(graph.maximum(graph.relu(y), 1.0) + 1.0)
    score = graph.reduce_sum(z, [-1], keepdims=True)
    graph.output("score", graph.squeeze(graph.sigmoid(score), [1]), ("B",))
    return to_onnx(graph)


def _casts() -> bytes:
    """Types that only a cast makes have widths of their own, and doubles are divided by anything."""
    nodes = [
        crafted.node("ReduceSum", "signals axes", "sum", keepdims=0), crafted.node("Cast", "sum", "double", to=11),
        crafted.node("Div", "double double", "one"), crafted.node("Cast", "one", "int32", to=6),
        crafted.node("Cast", "int32", "half", to=10), crafted.node("Cast", "half", "score", to=1),
    ]  # fmt: skip
    content: bytes = crafted.model(nodes, crafted.constants(axes=[1, 2])).SerializeToString()
    return content


def _mutants(content: bytes, count: int, seed: int) -> list[bytes]:
    """Flipped bits, changed bytes, cuts, and pieces that are there twice or not at all."""
    rng = np.random.default_rng(seed)
    made = []
    for kind in rng.integers(6, size=count):
        at, other = sorted(int(x) for x in rng.integers(len(content), size=2))
        data = bytearray(content)
        if kind < 3:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            data[at] = int(rng.integers(256))
        elif kind == 4:
            data[at : at + int(rng.integers(1, 8))] = b""
        else:
            data[at:at] = data[at : min(other, at + 16)]
        made.append(bytes(data))
    return made
