"""`config.pbtxt` of one graph: what Triton's ModelConfig (model_config.proto) says about it."""

from __future__ import annotations

from collections.abc import Mapping

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import GraphEntry, Manifest, TensorEntry
from sri_sdk.errors import BundleError

from .options import Options
from .pbtxt import Field, Word, to_text

STATE, STATE_OUT = "state", "state_out"
"""What the graph `step` carries from one call to the next. Triton keeps it, so no client sends or sees it."""
NAN_STATE = "nan"
"""File in the folder `initial_state`: a state that knows no cell yet."""
WARMUP_BATCHES = (1, 32)
MOST_WAITING = 4096
"""Requests in a queue. Further ones are refused, so that the client learns that its generation is unmonitored."""

_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "bool": "TYPE_BOOL"}
_SESSION = {"intra_op_thread_count": "1", "inter_op_thread_count": "1", "execution_mode": "0", "enable_mem_arena": "1"}
"""What Triton's onnxruntime backend lets a model say of the session that docs/bundles.md asks for."""


def model_config(bundle: Bundle, graph: str, name: str, options: Options) -> bytes:
    """The configuration of one graph, as a file.

    Args:
        bundle: where the graph comes from.
        graph: its name in the bundle.
        name: of the model, which is also its folder's.
        options: batches, instances, sequences.
    """
    entry = bundle.manifest.graphs[graph]
    if graph == "step":
        scheduler = _sequences(entry, options)
    else:
        scheduler = {"dynamic_batching": _batching(options), "model_warmup": _warmup(graph, entry, options)}
    fields: dict[str, Field] = {
        "name": name,
        "backend": "onnxruntime",
        "max_batch_size": options.max_batch,
        "version_policy": {"latest": {"num_versions": 1}},
        "input": [_edge(x, edge) for x, edge in entry.inputs.items() if x != STATE],
        "output": [_edge(x, edge) for x, edge in entry.outputs.items() if x != STATE_OUT],
        "instance_group": [{"count": options.instances, "kind": Word("KIND_CPU")}],
        **scheduler,
        "parameters": [
            {"key": key, "value": {"string_value": value}} for key, value in {**_SESSION, **_facts(bundle)}.items()
        ],
    }
    return to_text(fields).encode("ascii")


def _edge(name: str, edge: TensorEntry) -> Mapping[str, Field]:
    dims = _dims(edge)
    fields: dict[str, Field] = {"name": name, "data_type": Word(_TYPES[edge.dtype]), "dims": dims or [1]}
    # One number per row: Triton wants a dimension beside the batch, the graph has none.
    return fields if dims else {**fields, "reshape": {"shape": []}}


def _dims(edge: TensorEntry) -> list[int]:
    """Without the batch, which `max_batch_size` stands for."""
    return [int(size) for size in edge.shape[1:]]


def _batching(options: Options) -> Mapping[str, Field]:
    return {
        "max_queue_delay_microseconds": options.queue_delay_us,
        "default_queue_policy": {"max_queue_size": MOST_WAITING},
    }


def _sequences(entry: GraphEntry, options: Options) -> dict[str, Field]:
    """Implicit state. The first call of a sequence gets the state of the file; a control input is not needed.

    Strategy `oldest`, as `direct` fills the places of idle sequences with made-up rows, which must be computed too.
    """
    kind: dict[str, Field] = {
        "data_type": Word(_TYPES[entry.inputs[STATE].dtype]),
        "dims": _dims(entry.inputs[STATE]),
    }
    state = {
        "input_name": STATE, "output_name": STATE_OUT, **kind,
        "initial_state": [{"name": "no cell is known", **kind, "data_file": NAN_STATE}],
    }  # fmt: skip
    oldest = {
        "max_candidate_sequences": options.sequences,
        "max_queue_delay_microseconds": options.queue_delay_us,
    }
    idle = options.idle_seconds * 10**6
    return {"sequence_batching": {"max_sequence_idle_microseconds": idle, "oldest": oldest, "state": [state]}}


def _warmup(graph: str, entry: GraphEntry, options: Options) -> list[Mapping[str, Field]]:
    """One row, and many. Not for `step`: a warm-up is no sequence, so Triton would have no place for its state."""

    def data(name: str) -> Mapping[str, Field]:
        # Hidden states are large; zeros pass through the same nodes.
        return {"zero_data": True} if graph == "full" else {"input_data_file": name}

    inputs: list[Mapping[str, Field]] = [
        {
            "key": name,
            "value": {"data_type": Word(_TYPES[edge.dtype]), "dims": _dims(edge) or [1], **data(name)},
        }
        for name, edge in entry.inputs.items()
    ]
    sizes = sorted({min(rows, options.max_batch) for rows in WARMUP_BATCHES})
    return [{"name": f"rows-{rows}", "batch_size": rows, "inputs": inputs, "count": 1} for rows in sizes]


def _facts(bundle: Bundle) -> dict[str, str]:
    """What a client needs to trust an answer and to judge it; Triton shows it under /v2/models/<model>/config."""
    manifest = bundle.manifest
    if not isinstance(manifest, Manifest):
        raise BundleError(
            f"{bundle.path}: a guard with parts (format 2), and this exporter serves guards with one score (format 1). "
            "Score it in Python with `sri score`, or fit a guard with one detector on the columns sri@*."
        )
    return {
        "sri_digest": manifest.digest,
        "sri_domain": manifest.signal.domain,
        "sri_invalid_score": repr(manifest.invalid_score),
        "sri_threshold_final": repr(manifest.rules["final"].value),
        "sri_threshold_online": repr(manifest.rules["online"].value),
        "sri_tier": manifest.detector.tier,
    }
