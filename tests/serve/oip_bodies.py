"""Requests of the Open Inference Protocol, written by hand."""

import json
import struct

import numpy as np

HEADER = b"inference-header-content-length"
TYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
DTYPES = {"FP32": "<f4", "INT64": "<i8", "BOOL": "?"}


def request_of(inputs, outputs=None, *, binary_in=False, binary_out=False, **more):
    """(body, headers) of a request: inputs by name, outputs by name."""
    tensors, data = [], b""
    for name, array in inputs.items():
        tensor = {"name": name, "datatype": TYPES[str(array.dtype)], "shape": list(array.shape)}
        if binary_in:
            content = array.tobytes()
            data += content
            tensors.append({**tensor, "parameters": {"binary_data_size": len(content)}})
        else:
            tensors.append({**tensor, "data": array.ravel().tolist()})
    value = {"inputs": tensors, **more}
    if outputs is not None:
        value["outputs"] = [{"name": name, "parameters": {"binary_data": binary_out}} for name in outputs]
    elif binary_out:
        value["parameters"] = {**value.get("parameters", {}), "binary_data_output": True}
    words = json.dumps(value).encode()
    return words + data, ([(HEADER, b"%d" % len(words))] if binary_in else [])


def outputs_of(got):
    """Outputs of an answer, by name."""
    size = int(got.headers.get(HEADER, len(got.body)))
    from sri_sdk import strict_json

    value, data = strict_json.parse(got.body[:size]), got.body[size:]
    found = {}
    for each in value["outputs"]:
        if "data" in each:
            flat = each["data"]
        else:
            length = each["parameters"]["binary_data_size"]
            flat, data = data[:length], data[length:]
        if each["datatype"] == "BYTES":
            found[each["name"]] = flat if isinstance(flat, list) else texts(flat)
        elif isinstance(flat, list):
            found[each["name"]] = np.array(flat, DTYPES[each["datatype"]]).reshape(each["shape"])
        else:
            found[each["name"]] = np.frombuffer(flat, DTYPES[each["datatype"]]).reshape(each["shape"])
    assert not data
    return found


def texts(content):
    found = []
    while content:
        (length,) = struct.unpack("<I", content[:4])
        found.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return found
