"""The two operators of ai.onnx.ml that keep learnt numbers in attributes: the arrays must be what they claim to be.

A cycle among the nodes of a tree never ends, a very deep tree exhausts the stack, and a feature that does not exist
reads memory beyond the signal. Newer runtimes check some of this; it costs little to check it first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sri_sdk.scoring.inspect.wire import Refused, Span, floats, ints, signed

MOST_DEPTH = 64
MOST_NODES = 2**20

Values = Mapping[str, list[int | Span]]
_MODE = re.compile(rb"\x4a(\x0aBRANCH_LEQ|\x04LEAF)")


def trees_width(data: bytes, values: Values) -> tuple[int, int]:
    """Number of columns that the trees of one TreeEnsembleRegressor read, and of branches that a row takes at most.

    Raises:
        Refused: the attributes are not whole trees with one value per leaf.
    """
    tree, node, feature = (_ints(data, values, f"nodes_{name}") for name in ("treeids", "nodeids", "featureids"))
    yes, no = _ints(data, values, "nodes_truenodeids"), _ints(data, values, "nodes_falsenodeids")
    thresholds, weights = _floats(data, values, "nodes_values"), _floats(data, values, "target_weights")
    inner = _inner(data, values)
    count = len(inner)
    if not count or count > MOST_NODES or any(len(x) != count for x in (tree, node, feature, yes, no, thresholds)):
        raise Refused("a tree ensemble has arrays of different lengths, no nodes, or too many")
    first = np.flatnonzero(np.diff(tree, prepend=-1))
    if tree[0] or not np.isin(np.diff(tree), (0, 1)).all() or (node != np.arange(count) - first[tree]).any():
        raise Refused("a tree ensemble does not count its trees and their nodes from 0")
    depth = _whole(first[tree], first, inner, yes, no)
    if not (np.isfinite(thresholds).all() and np.isfinite(weights).all()):
        raise Refused("a tree ensemble has numbers that are not finite")
    where = _ints(data, values, "target_treeids"), _ints(data, values, "target_nodeids")
    leaves = np.flatnonzero(~inner)
    if len(weights) != len(leaves) or any(len(x) != len(leaves) for x in where) or (tree[leaves] != where[0]).any():
        raise Refused("a tree ensemble does not give each leaf one value")
    if (node[leaves] != where[1]).any() or len(ids := _ints(data, values, "target_ids")) != len(leaves) or ids.any():
        raise Refused("a tree ensemble does not give each leaf one value")
    if _int(values, "n_targets") != 1:
        raise Refused("a tree ensemble has more than one result")
    missing = _ints(data, values, "nodes_missing_value_tracks_true")
    if values.get("base_values") or len(missing) not in (0, count) or missing.any():
        raise Refused("a tree ensemble may not have base values, or its own treatment of missing values")
    _named(data, values, "aggregate_function", b"SUM")
    _named(data, values, "post_transform", b"NONE")
    if (feature[inner] < 0).any() or (feature >= 2**20).any():
        raise Refused("a tree ensemble reads a column that no signal has")
    return int(feature[inner].max(initial=-1)) + 1, len(first) * depth


def svm_width(data: bytes, values: Values) -> tuple[int, int]:
    """Number of columns of the support vectors of one SVMRegressor, and of support vectors.

    Raises:
        Refused: the attributes are not one support vector machine.
    """
    vectors, weights = _floats(data, values, "support_vectors"), _floats(data, values, "coefficients")
    count = _int(values, "n_supports")
    if count < 1 or len(weights) != count or not len(vectors) or len(vectors) % count:
        raise Refused("a support vector machine has arrays that do not match its number of support vectors")
    if len(_floats(data, values, "rho")) != 1 or len(_floats(data, values, "kernel_params")) != 3:
        raise Refused("a support vector machine needs one rho and three kernel parameters")
    _named(data, values, "kernel_type", b"LINEAR", b"POLY", b"RBF", b"SIGMOID")
    _named(data, values, "post_transform", b"NONE")
    return len(vectors) // count, count


def _whole(
    root: NDArray[np.int64], roots: NDArray[np.int64], inner: NDArray[np.bool_], yes: NDArray[np.int64],
    no: NDArray[np.int64],
) -> int:  # fmt: skip
    """Number of levels. Refuses what is not trees: each node but a root has one parent, and all lie within `MOST_DEPTH`
    levels of a root.

    `root` [K] int64 is the root of each node's tree, `roots` [trees] int64 each of them once; `inner` [K] bool says
    whether a node branches, `yes` and `no` [K] int64 to which nodes, counted within the tree.
    """
    size = np.diff(np.append(roots, len(root)))
    limit = np.repeat(size, size)
    if (inner & ((yes <= 0) | (no <= 0) | (yes >= limit) | (no >= limit))).any():
        raise Refused("a tree ensemble has a branch that leads out of its tree, or back to its root")
    parents = np.bincount(np.concatenate([(root + yes)[inner], (root + no)[inner]]), minlength=len(root))
    parents[roots] += 1
    if (parents != 1).any():
        raise Refused("a tree ensemble is not made of trees: a node has no parent, or two")
    met, level, depth = 0, roots, 0
    while len(level) and depth < MOST_DEPTH:
        met, depth = met + len(level), depth + 1
        level = level[inner[level]]
        level = np.concatenate([root[level] + yes[level], root[level] + no[level]])
    if met != len(root):
        raise Refused(f"a tree ensemble has a cycle, or a tree deeper than {MOST_DEPTH}")
    return depth


def _inner(data: bytes, values: Values) -> NDArray[np.bool_]:
    """[K] bool: whether a node branches."""
    runs = [data[start:end] for start, end in _spans(values, "nodes_modes")]
    return np.array([mode != b"\x04LEAF" for run in runs for mode in _MODE.findall(run)], dtype=np.bool_)


def _ints(data: bytes, values: Values, name: str) -> NDArray[np.int64]:
    return ints(data, _spans(values, name))


def _floats(data: bytes, values: Values, name: str) -> NDArray[np.float32]:
    return floats(data, _spans(values, name))


def _spans(values: Values, name: str) -> list[Span]:
    return [value for value in values.get(name, ()) if isinstance(value, tuple)]


def _int(values: Values, name: str) -> int:
    found = values.get(name, [0])[0]
    return signed(found) if isinstance(found, int) else 0


def _named(data: bytes, values: Values, name: str, *allowed: bytes) -> None:
    """Refuses a string attribute with another value. One that is left out has its default, the first allowed value."""
    for start, end in _spans(values, name):
        if data[start:end] not in allowed:
            raise Refused(f"{name} is {data[start:end][:40]!r}, allowed: {', '.join(a.decode() for a in allowed)}")
