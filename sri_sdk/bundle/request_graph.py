"""The request column as a graph: the same map as `request_map.py`, for exported bundles that take hidden states."""

from __future__ import annotations

import numpy as np

from sri_sdk.bundle.signal_graph import LARGEST, sum_over_width
from sri_sdk.graph.builder import Graph, Value
from sri_sdk.request_map import LARGEST as CLIPPED
from sri_sdk.request_map import RequestMap


def draw_log_odds(graph: Graph, prompt: Value, request: RequestMap) -> Value:
    """Mean states of requests, [B, L, D] float32 -> [B, 1, 1] log-odds; NaN where a state is not finite."""
    width = request.weight.shape[1]
    states = graph.unsqueeze(prompt, [1])

    def total(values: Value) -> Value:
        return graph.reduce_sum(sum_over_width(graph, values, width), [2], keepdims=True)

    odds = total(states * request.weight[None, None]) + float(request.bias)
    odds = graph.where(odds > CLIPPED, CLIPPED, graph.where(odds < -CLIPPED, -CLIPPED, odds))
    # Their squares, since the map may give an infinite state no weight; false for NaN.
    return graph.where(total(states * states) < LARGEST, odds, np.nan)


def widened(graph: Graph, sri: Value, layers: int) -> Value:
    """[B, T, S] -> [B, T, S + 1]: room for one more column, in which something stands that `placed` replaces."""
    return graph.node("Gather", sri, graph.constant([*range(layers), 0], "int64"), axis=2)


def placed(graph: Graph, signals: Value, request: Value, layers: int) -> Value:
    """[B, T, S + 1] with the last column, in all cells, of `request` [B, 1, 1]."""
    order = graph.constant(np.arange(layers + 1, dtype=np.float32)[None, None])
    return graph.where(order < layers - 0.5, signals, request)
