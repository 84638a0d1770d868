"""Arrays in JSON: base64 of row-major little-endian bytes, because JSON has no NaN and no float32."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.exact import Items, Model, Within
from sri_sdk.graph.builder import Dtype

_DTYPES: dict[Dtype, str] = {"float32": "<f4", "int64": "<i8", "bool": "|b1"}


class PackedArray(Model):
    """An array as text."""

    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Within(ge=0)], ...], Items(most=8)]
    base64: str
    """Row-major, little-endian; a bool is one byte, 0 or 1."""

    def _consistent(self) -> None:
        content = b64decode(self.base64, validate=True)
        if b64encode(content).decode() != self.base64:  # Bits behind the last byte: other readers refuse them.
            raise ValueError("base64 with bits left over")
        if len(content) != math.prod(self.shape) * np.dtype(_DTYPES[self.dtype]).itemsize:
            raise ValueError(f"{len(content)} bytes for {self.dtype} of shape {self.shape}")
        if self.dtype == "bool" and content.strip(b"\0\1"):
            raise ValueError("a bool that is neither 0 nor 1")

    @classmethod
    def pack(cls, array: NDArray[Any]) -> Self:
        """Packs an array [...] of any shape; floats become float32, integers int64."""
        dtype: Dtype = "float32" if array.dtype.kind == "f" else "int64" if array.dtype.kind == "i" else "bool"
        content = np.ascontiguousarray(array).astype(_DTYPES[dtype]).tobytes()
        return cls(dtype=dtype, shape=array.shape, base64=b64encode(content).decode())

    def unpack(self) -> NDArray[Any]:
        """The array [...] of `shape` and `dtype`, in native byte order."""
        flat = np.frombuffer(b64decode(self.base64), dtype=_DTYPES[self.dtype])
        return flat.reshape(self.shape).astype(self.dtype)
