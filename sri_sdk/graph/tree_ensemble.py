"""Trees as one ONNX operator: the attributes of TreeEnsembleRegressor of ai.onnx.ml 3, which sums over the trees.

A forest drawn tree by tree from ordinary operators would be thousands of nodes and a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Attribute = float | int | str | tuple[float, ...] | tuple[int, ...] | tuple[str, ...]

LEAF = -1


def tree_attributes(
    tree: ArrayLike, feature: ArrayLike, threshold: ArrayLike, left: ArrayLike, right: ArrayLike, value: ArrayLike
) -> dict[str, Attribute]:
    """Attributes of the operator. The arguments are [K], one entry per node, as `Graph.tree_ensemble` describes them.

    Raises:
        ValueError: the arrays are not the nodes of trees.
    """
    tree, feature, left, right = (np.asarray(x, dtype=np.int64) for x in (tree, feature, left, right))
    threshold, value = np.asarray(threshold, dtype=np.float64), np.asarray(value, dtype=np.float32)
    count = len(tree)
    if not count or any(x.shape != (count,) for x in (tree, feature, threshold, left, right, value)):
        raise ValueError(f"tree_ensemble: the six arrays need one entry per node, found {count} and others")
    first = np.flatnonzero(np.diff(tree, prepend=-1))
    if tree[0] != 0 or (np.diff(tree) < 0).any() or (np.diff(tree) > 1).any():
        raise ValueError("tree_ensemble: `tree` must count the trees from 0, with the nodes of a tree together")
    node = np.arange(count) - first[tree]
    inner, size = left != LEAF, np.bincount(tree)[tree]
    for name, child in (("left", left), ("right", right)):
        if ((child != LEAF) != inner).any() or (inner & ((child <= node) | (child >= size))).any():
            raise ValueError(f"tree_ensemble: `{name}` must be a later node of the same tree, or {LEAF} at both sides")
    if (inner & ((feature < 0) | ~np.isfinite(threshold))).any() or not np.isfinite(value[~inner]).all():
        raise ValueError("tree_ensemble: an inner node needs a feature and a finite threshold, a leaf a finite value")
    return {
        "n_targets": 1,
        "nodes_treeids": _ints(tree),
        "nodes_nodeids": _ints(node),
        "nodes_modes": tuple("BRANCH_LEQ" if x else "LEAF" for x in inner),
        "nodes_featureids": _ints(np.where(inner, feature, 0)),
        "nodes_values": _floats(np.where(inner, rounded_down(threshold), 0)),
        "nodes_truenodeids": _ints(np.where(inner, left, 0)),
        "nodes_falsenodeids": _ints(np.where(inner, right, 0)),
        "target_treeids": _ints(tree[~inner]),
        "target_nodeids": _ints(node[~inner]),
        "target_ids": (0,) * int((~inner).sum()),
        "target_weights": _floats(value[~inner]),
    }


def rounded_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """[K] -> [K]: the largest float32 not above each threshold; a float32 `x <= threshold` decides as before."""
    near = threshold.astype(np.float32)
    down: NDArray[np.float32] = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
    return down


def _ints(array: NDArray[Any]) -> tuple[int, ...]:
    values: Sequence[int] = array.tolist()
    return tuple(values)


def _floats(array: NDArray[Any]) -> tuple[float, ...]:
    values: Sequence[float] = array.astype(np.float32).tolist()
    return tuple(values)
