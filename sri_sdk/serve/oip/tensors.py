"""Tensors as JSON and as bytes. Binary: little-endian, row by row; BOOL one byte; BYTES a length of four bytes each."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.serve.http import Refusal

Array = NDArray[Any]
TYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
"""As manifests spell it -> as the protocol does."""
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8"), "BOOL": np.dtype("?")}
_NUMBERS: dict[str, set[type]] = {"FP32": {int, float, type(None)}, "INT64": {int}, "BOOL": {bool}}


def from_bytes(content: bytes, datatype: str, shape: Sequence[int], name: str) -> Array:
    """A tensor [B, ...] from its own bytes.

    Raises:
        Refusal: another number of bytes than the shape needs.
    """
    dtype = DTYPES[datatype]
    if len(content) != (wanted := math.prod(shape) * dtype.itemsize):
        raise Refusal(
            400, f"input {name}: {len(content)} bytes, {datatype} {list(shape)} has {wanted}. Send all of them."
        )
    return np.frombuffer(content, dtype).reshape(shape)


def from_json(data: Any, datatype: str, shape: Sequence[int], name: str) -> Array:
    """A tensor [B, ...] from a list, flat or nested as the shape is; null becomes NaN.

    Raises:
        Refusal: not that, or values of another type.
    """
    flat = data
    try:
        while isinstance(flat, list) and flat and isinstance(flat[0], list):
            flat = list(chain.from_iterable(flat))
        if not isinstance(flat, list) or {type(x) for x in flat} - _NUMBERS[datatype]:
            raise TypeError
        with np.errstate(over="ignore"):
            # By way of float64, where null becomes NaN.
            array = np.array(data, np.float64).astype(DTYPES["FP32"]) if datatype == "FP32" else np.array(
                data, DTYPES[datatype]
            )  # fmt: skip
    except (TypeError, ValueError) as err:
        raise Refusal(
            400, f"input {name}: data is not a list of {datatype} values, flat or nested as the shape. Send it so."
        ) from err
    if array.shape not in (tuple(shape), (math.prod(shape),)):
        raise Refusal(
            400, f"input {name}: data of shape {list(array.shape)}, stated as {list(shape)}. Make them equal."
        )
    return array.reshape(shape)


def to_bytes(array: Array) -> bytes:
    """A tensor [B, ...] as bytes; texts are an array of `object`."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(text)) + text for text in (str(x).encode() for x in array.ravel()))
    return array.tobytes()


def to_json(array: Array) -> list[Any]:
    """A tensor [B, ...] as a flat list; what is not finite is null, which JSON has."""
    flat: list[Any] = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [x if math.isfinite(x) else None for x in flat]
    return flat
