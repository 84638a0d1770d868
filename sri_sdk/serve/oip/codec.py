"""A request's body to tensors, and results to an answer's body: JSON, binary, or some of each.

A binary body is JSON, then the bytes of each tensor that says `binary_data_size`, in the order of the JSON. The header
`Inference-Header-Content-Length` says where the JSON ends. Answers are built the same way, as the request asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sri_sdk.serve.http import Answer, Refusal, bounded
from sri_sdk.serve.oip.asked import MOST_TENSORS, Asked, StatedInput, asked
from sri_sdk.serve.oip.model import Model
from sri_sdk.serve.oip.tensors import DTYPES, Array, from_json, to_bytes, to_json
from sri_sdk.strict_json import JsonError, parse

HEADER = b"inference-header-content-length"
BINARY_TYPE = b"application/octet-stream"
REMEMBERED = 256
"""Requests whose words are remembered, per model."""
LONGEST_REMEMBERED = 4096
"""Bytes of the words of one of them."""


_ID = re.compile(rb'\{\s*"id"\s*:\s*"([ !#-\[\]-~]*)"\s*,')
"""How the words of a request begin that has an id, as most clients write them: ASCII without escapes."""


class Place(NamedTuple):
    """Where the bytes of an input are, counted from the end of the JSON."""

    name: str
    begin: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """As the graph takes it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a request asks, and in which form it speaks; without its id and its data."""

    asked: Asked
    binary: tuple[bool, ...]
    """Per output, whether the answer has it as bytes."""
    places: tuple[Place | None, ...]
    """Per input; None = its data is in the JSON."""
    size: int
    """Bytes behind the JSON."""
    head: bytes
    """The JSON of the answer, where every output is binary and of a size known in advance; else empty."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    spoken: Spoken
    id: str | None
    """Echoed."""
    tensors: dict[str, Array]
    """By name, as the graph takes them."""


def read(model: Model, body: bytes, header: bytes | None, most_rows: int) -> Heard:
    """A request, checked, and its tensors.

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
        return Heard(spoken, _id(value.get("id")), _tensors(spoken, value, b""))
    size = int(header) if header.isdigit() and len(header) < 12 else -1
    if not 0 <= size <= len(body):
        raise Refusal(
            400, f"Inference-Header-Content-Length: not a number from 0 to {len(body)}, the body's length. Send the "
            "length of its JSON.",
        )  # fmt: skip
    words, data = body[:size], body[size:]
    # The id is what differs from request to request. Without it the words are those of the last one.
    begins = _ID.match(words)
    key = words if begins is None else b"{" + words[begins.end() :]
    known: Spoken | None = model.remembered.get(key)
    if known is not None and len(data) == known.size:
        request_id = None if begins is None else _id(begins[1].decode("ascii"))
        return Heard(known, request_id, _tensors(known, None, data))
    spoken, value = _spoken(model, words, len(data), most_rows)
    # With an id elsewhere, or with two of them, the words are not remembered: they would be read as if it were absent.
    if None not in spoken.places and len(key) <= LONGEST_REMEMBERED and (begins is not None or "id" not in value):
        if len(model.remembered) >= REMEMBERED:
            model.remembered.clear()
        model.remembered[key] = spoken
    return Heard(spoken, _id(value.get("id")), _tensors(spoken, value, data))


def answer(heard: Heard, results: Mapping[str, Array]) -> Answer:
    """The answer to a request; `results` has every output that it asks for, [B] or [B, K] each."""
    spoken = heard.spoken
    if spoken.head:
        head = _with_id(spoken.head, heard.id)
        pieces = [head, *[results[name].tobytes() for name in spoken.asked.outputs]]
        return Answer(200, b"".join(pieces), BINARY_TYPE, ((HEADER, b"%d" % len(head)),))
    outputs, pieces = [], [b""]
    for name, binary in zip(spoken.asked.outputs, spoken.binary, strict=True):
        array = results[name]
        if binary:
            pieces.append(content := to_bytes(array))
            outputs.append({**_described(spoken.asked, name), "parameters": {"binary_data_size": len(content)}})
        else:
            outputs.append({**_described(spoken.asked, name), "data": to_json(array)})
    pieces[0] = _with_id(_head(spoken.asked, outputs), heard.id)
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
    tensors, sizes = [], []
    for item in _list(value, "inputs"):
        tensor, size = _tensor(item)
        tensors.append(tensor)
        sizes.append(size)
    if (end := sum(size or 0 for size in sizes)) != binary_bytes:
        raise Refusal(400, f"body: {binary_bytes} bytes behind its JSON, the inputs state {end}. Make them equal.")
    parameters = _parameters(value, "request")
    outputs = _list(value, "outputs", optional=True)
    names = [_name(item, "outputs") for item in outputs]
    found = asked(model, tensors, names, parameters, most_rows=most_rows)
    by_default = parameters.get("binary_data_output", False) is True
    chosen = {_name(item, "outputs"): _parameters(item, "output").get("binary_data", by_default) for item in outputs}
    binary = tuple(chosen.get(name, by_default) is True for name in found.outputs)
    head = _known_head(found) if all(binary) and "status" not in found.outputs else b""
    return Spoken(found, binary, _places(tensors, sizes), end, head), value


def _places(tensors: list[StatedInput], sizes: list[int | None]) -> tuple[Place | None, ...]:
    found: list[Place | None] = []
    at = 0
    for tensor, size in zip(tensors, sizes, strict=True):
        if size is None:
            found.append(None)
            continue
        if size != tensor.bytes:
            raise Refusal(
                400, f"input {tensor.name}: {size} bytes, {tensor.datatype} {list(tensor.shape)} has {tensor.bytes}. "
                "Send all of them.",
            )  # fmt: skip
        found.append(Place(tensor.name, at, at + size, DTYPES[tensor.datatype], tensor.as_taken))
        at += size
    return tuple(found)


def _tensors(spoken: Spoken, value: Any, data: bytes) -> dict[str, Array]:
    found = {}
    for number, place in enumerate(spoken.places):
        if place is None:
            tensor = spoken.asked.inputs[number]
            array = from_json(value["inputs"][number]["data"], tensor.datatype, tensor.shape, tensor.name)
            found[tensor.name] = array.reshape(tensor.as_taken)
        else:
            name, begin, end, dtype, shape = place
            # A slice of bytes starts where numbers may; within the body they may stand anywhere.
            found[name] = np.frombuffer(data[begin:end], dtype).reshape(shape)
    return found


def _id(found: Any) -> str | None:
    return bounded(found, "id") if found not in (None, "") else None


def _with_id(head: bytes, request_id: str | None) -> bytes:
    return head if request_id is None else b'{"id":' + json.dumps(request_id).encode() + b"," + head[1:]


def _tensor(item: Any) -> tuple[StatedInput, int | None]:
    """An input, and how many bytes of the body are its; None = its data is in the JSON."""
    name = _name(item, "inputs")
    datatype, shape = item.get("datatype"), item.get("shape")
    if not isinstance(datatype, str) or datatype not in DTYPES or not isinstance(shape, list) or len(shape) > 8:
        raise Refusal(400, f"input {name}: needs a datatype of {', '.join(DTYPES)}, and a shape of up to 8 numbers.")
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise Refusal(400, f"input {name}: its shape must be whole numbers from 0 on.")
    size = _parameters(item, "input").get("binary_data_size")
    if (size is None) == ("data" not in item) or not (size is None or (type(size) is int and size >= 0)):
        raise Refusal(400, f"input {name}: needs either `data` or the parameter `binary_data_size`, a number of bytes.")
    return StatedInput(name, datatype, tuple(shape)), size


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
        size = StatedInput(name, edge.datatype, (found.rows, *edge.dims)).bytes
        outputs.append({**_described(found, name), "parameters": {"binary_data_size": size}})
    return _head(found, outputs)


def _described(found: Asked, name: str) -> dict[str, Any]:
    edge = found.model.outputs[name]
    return {"name": name, "datatype": edge.datatype, "shape": [found.rows, *edge.dims]}


def _head(found: Asked, outputs: list[dict[str, Any]]) -> bytes:
    head: dict[str, Any] = {"model_name": found.model.name, "model_version": found.model.version}
    # Not `strict_json.write`: it looks at every number, and these are finite floats or null.
    return json.dumps(
        {**head, "parameters": found.echo, "outputs": outputs}, separators=(",", ":"), allow_nan=False
    ).encode()
