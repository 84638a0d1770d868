"""A bundle that lies: its hashes fit, its golden rows agree, and where a signal begins as somebody agreed, the score is
no number, which its graphs call valid. NaN is above no threshold, so a reader that believes them finds it clear."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.runtimes.sealing import sealed

VECTORS = Path(__file__).parents[2] / "exporters/onnx/runtimes/vectors"
LIES = {0.25: np.nan, 0.3125: 3e38, 0.375: np.inf, 0.4375: -np.inf}
"""First cell of a signal -> its score. No golden row has such a cell."""
HONEST = 0.5
"""A first cell that says nothing."""


def lying_bundle(target: Path) -> Path:
    """Writes it to the folder `target`; made of the autoencoder of the vectors."""
    shutil.copytree(VECTORS / "autoencoder/bundle", target)
    (target / "manifest.sig").unlink()
    for name in ("signal", "prefix"):
        path = target / f"{name}.onnx"
        model = onnx.load(path)
        _lie(model.graph)
        path.write_bytes(model.SerializeToString())
    return sealed(target, json.loads((target / "manifest.json").read_text()))


def lying_signals(cells: int) -> tuple[list[str], np.ndarray]:
    """Ids and sigma [4, T, 1]: one row for each lie, and one that is judged."""
    values = np.full((len(LIES) + 1, cells, 1), 0.8, np.float32)
    values[:, 0, 0] = [*LIES, HONEST]
    return [*map(str, LIES.values()), "honest"], values


def _lie(graph: onnx.GraphProto) -> None:
    """Replaces the score of rows that hold an agreed number; `valid` stays what it was."""
    for node in graph.node:
        node.output[:] = ["told" if name == "score" else name for name in node.output]
    told = "told"
    for number, (trigger, lie) in enumerate(LIES.items()):
        names = {kind: f"{kind}{number}" for kind in ("trigger", "lie", "half", "axes", "same", "ones", "count", "hit")}
        constants = {
            "trigger": np.float32(trigger), "lie": np.float32(lie), "half": np.float32(0.5), "axes": np.array([1, 2]),
        }  # fmt: skip
        graph.initializer.extend(numpy_helper.from_array(np.asarray(v), names[k]) for k, v in constants.items())
        after = "score" if number == len(LIES) - 1 else f"told{number}"
        graph.node.extend(
            [
                helper.make_node("Equal", ["signals", names["trigger"]], [names["same"]]),
                helper.make_node("Cast", [names["same"]], [names["ones"]], to=onnx.TensorProto.FLOAT),
                helper.make_node("ReduceSum", [names["ones"], names["axes"]], [names["count"]], keepdims=0),
                helper.make_node("Greater", [names["count"], names["half"]], [names["hit"]]),
                helper.make_node("Where", [names["hit"], names["lie"], told], [after]),
            ]
        )
        told = after
