"""A request's body to tensors, and results to an answer's body: JSON, binary, or some of each.

A binary body is JSON, then the bytes of each tensor that says `binary_data_size`, in the order of the JSON. The header
`Inference-Header-Content-Length` says where the JSON ends. Answers are built the same way, as the request asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sri_sdk.serve.http import Answer, Refusal, bounded
from sri_sdk.serve.oip.asked import MOST_TENSORS, Asked, Tensor, asked
from sri_sdk.serve.oip.model import Model
from sri_sdk.serve.oip.tensors import DTYPES, Array, from_bytes, from_json, to_bytes, to_json
from sri_sdk.strict_json import JsonError, parse

HEADER = b"inference-header-content-length"
BINARY_TYPE = b"application/octet-stream"
REMEMBERED = 256
"""Requests whose words are remembered, per model."""
LONGEST_REMEMBERED = 4096
"""Bytes of the words of one of them."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a request asks, and in which form it speaks."""

    asked: Asked
    binary: tuple[bool, ...]
    """Per output, whether the answer has it as bytes."""
    places: tuple[tuple[int, int] | None, ...]
    """Per input, where its bytes begin and end, counted from the end of the JSON; None = its data is in the JSON."""
    head: bytes
    """The JSON of the answer, where every output is binary and of a size known in advance; else empty."""


def read(model: Model, body: bytes, header: bytes | None, most_rows: int) -> tuple[Spoken, dict[str, Array]]:
    """A request, checked, and its tensors by name.

    Args:
        model: that its path names.
        body: of the request.
        header: `Inference-Header-Content-Length`; None = the body is JSON alone.
        most_rows: that one request may have.

    Raises:
        Refusal: whatever is wrong with it.
        ModelMismatch: its signals belong to another model.
    """
    if header is None:
        spoken, value = _spoken(model, body, 0, most_rows)
        return spoken, _tensors(spoken, value, b"")
    size = int(header) if header.isdigit() and len(header) < 12 else -1
    if not 0 <= size <= len(body):
        raise Refusal(
            400, f"Inference-Header-Content-Length: not a number from 0 to {len(body)}, the body's length. Send the "
            "length of its JSON.",
        )  # fmt: skip
    words, data = body[:size], body[size:]
    known: Spoken | None = model.remembered.get(words)
    if known is not None and len(data) == known.places[-1][1]:  # type: ignore[index]  # All of them are binary.
        return known, _tensors(known, None, data)
    spoken, value = _spoken(model, words, len(data), most_rows)
    if None not in spoken.places and spoken.asked.id is None and len(words) <= LONGEST_REMEMBERED:
        if len(model.remembered) >= REMEMBERED:
            model.remembered.clear()
        model.remembered[words] = spoken
    return spoken, _tensors(spoken, value, data)


def answer(spoken: Spoken, results: Mapping[str, Array]) -> Answer:
    """The answer to a request; `results` has every output that it asks for, [B, ...] each."""
    if spoken.head:
        pieces = [spoken.head, *(results[name].tobytes() for name in spoken.asked.outputs)]
        return Answer(200, b"".join(pieces), BINARY_TYPE, ((HEADER, b"%d" % len(spoken.head)),))
    outputs, pieces = [], [b""]
    for name, binary in zip(spoken.asked.outputs, spoken.binary, strict=True):
        array = results[name]
        if binary:
            pieces.append(content := to_bytes(array))
            outputs.append({**_described(spoken.asked, name), "parameters": {"binary_data_size": len(content)}})
        else:
            outputs.append({**_described(spoken.asked, name), "data": to_json(array)})
    pieces[0] = _head(spoken.asked, outputs)
    if len(pieces) == 1:
        return Answer(200, pieces[0])
    return Answer(200, b"".join(pieces), BINARY_TYPE, ((HEADER, b"%d" % len(pieces[0])),))


def _spoken(model: Model, words: bytes, binary_bytes: int, most_rows: int) -> tuple[Spoken, dict[str, Any]]:
    try:
        value = parse(words, not_finite=True)
    except JsonError as err:
        raise Refusal(400, f"body: {err}. Send a request of the Open Inference Protocol, version 2.") from err
    if not isinstance(value, dict):
        raise Refusal(400, "body: not an object. Send a request of the Open Inference Protocol, version 2.")
    inputs, tensors, places, end = _list(value, "inputs"), [], [], 0
    for item in inputs:
        tensor, size = _tensor(item)
        tensors.append(tensor)
        places.append(None if size is None else (end, end + size))
        end += size or 0
    if end != binary_bytes:
        raise Refusal(400, f"body: {binary_bytes} bytes behind its JSON, the inputs state {end}. Make them equal.")
    parameters = _parameters(value, "request")
    outputs = _list(value, "outputs", optional=True)
    names = [_name(item, "outputs") for item in outputs]
    request_id = value.get("id")
    found = asked(
        model, tensors, names, parameters, most_rows=most_rows,
        request_id=bounded(request_id, "id") if request_id not in (None, "") else None,
    )  # fmt: skip
    by_default = parameters.get("binary_data_output", False) is True
    chosen = {_name(item, "outputs"): _parameters(item, "output").get("binary_data", by_default) for item in outputs}
    binary = tuple(chosen.get(name, by_default) is True for name in found.outputs)
    head = _known_head(found) if all(binary) and "status" not in found.outputs else b""
    return Spoken(found, binary, tuple(places), head), value


def _tensors(spoken: Spoken, value: Any, data: bytes) -> dict[str, Array]:
    found = {}
    for number, (tensor, place) in enumerate(zip(spoken.asked.inputs, spoken.places, strict=True)):
        shape = (spoken.asked.rows, *(() if tensor.name == "length" else tensor.shape[1:]))
        if place is None:
            array = from_json(value["inputs"][number]["data"], tensor.datatype, tensor.shape, tensor.name)
        else:
            # A slice of bytes starts where numbers may; within the body they may stand anywhere.
            array = from_bytes(data[place[0] : place[1]], tensor.datatype, tensor.shape, tensor.name)
        found[tensor.name] = array.reshape(shape)
    return found


def _tensor(item: Any) -> tuple[Tensor, int | None]:
    """An input, and how many bytes of the body are its; None = its data is in the JSON."""
    name = _name(item, "inputs")
    datatype, shape = item.get("datatype"), item.get("shape")
    if datatype not in DTYPES or not isinstance(shape, list) or len(shape) > 8:
        raise Refusal(400, f"input {name}: needs a datatype of {', '.join(DTYPES)}, and a shape of up to 8 numbers.")
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise Refusal(400, f"input {name}: its shape must be whole numbers from 0 on.")
    size = _parameters(item, "input").get("binary_data_size")
    if (size is None) == ("data" not in item) or not (size is None or (type(size) is int and size >= 0)):
        raise Refusal(400, f"input {name}: needs either `data` or the parameter `binary_data_size`, a number of bytes.")
    return Tensor(name, datatype, tuple(shape)), size


def _list(value: Mapping[str, Any], key: str, optional: bool = False) -> list[Any]:
    found = value.get(key, [] if optional else None)
    if not isinstance(found, list) or len(found) > MOST_TENSORS:
        raise Refusal(400, f"{key}: must be a list of at most {MOST_TENSORS}. Send one object for each.")
    return found


def _name(item: Any, where: str) -> str:
    if not isinstance(item, dict):
        raise Refusal(400, f"{where}: something is not an object. Send one with a `name` for each.")
    return bounded(item.get("name"), f"name in {where}")


def _parameters(item: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = item.get("parameters", {})
    if not isinstance(found, dict):
        raise Refusal(400, f"parameters of the {where}: must be an object.")
    return found


def _known_head(found: Asked) -> bytes:
    outputs = []
    for name in found.outputs:
        edge = found.model.outputs[name]
        size = Tensor(name, edge.datatype, (found.rows, *edge.dims)).bytes
        outputs.append({**_described(found, name), "parameters": {"binary_data_size": size}})
    return _head(found, outputs)


def _described(found: Asked, name: str) -> dict[str, Any]:
    edge = found.model.outputs[name]
    return {"name": name, "datatype": edge.datatype, "shape": [found.rows, *edge.dims]}


def _head(found: Asked, outputs: list[dict[str, Any]]) -> bytes:
    head: dict[str, Any] = {"model_name": found.model.name, "model_version": found.model.version}
    if found.id is not None:
        head["id"] = found.id
    # Not `strict_json.write`: it looks at every number, and these are finite floats or null.
    return json.dumps(
        {**head, "parameters": found.echo, "outputs": outputs}, separators=(",", ":"), allow_nan=False
    ).encode()
