"""A client of the Open Inference Protocol, version 2, over HTTP and JSON: as much as asking a guard needs."""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, ScoringError
from sri_sdk.strict_json import parse

TIMEOUT = 30.0
"""Seconds."""
LARGEST_ANSWER = 2**28
"""Bytes."""
MOST_VALUES = 2**24
"""In one answer; the scores of that many rows."""

_TYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
_DTYPES = {word: dtype for dtype, word in _TYPES.items()}


class Client:
    """One server.

    Args:
        url: as in `http://localhost:8000`.
        timeout: seconds that one answer may take.
        token: bearer token; None = the server asks for none.
        ca_file: PEM file with the certificates that may have signed the server's; None = the system's.

    Raises:
        ConfigError: the address is none of HTTP, or the file has no certificates.
    """

    def __init__(
        self, url: str, timeout: float = TIMEOUT, *, token: str | None = None, ca_file: Path | None = None
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"server {url[:80]!r}: not an address of HTTP. Give one such as http://localhost:8000.")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._sent = {"Content-Type": "application/json"}
        if token is not None:
            self._sent["Authorization"] = f"Bearer {token}"
        try:
            self._tls = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
        except OSError as err:
            raise ConfigError(
                f"ca file {ca_file}: cannot be used ({err.strerror or 'no certificates'}). Give a PEM file."
            ) from err

    def config(self, model: str) -> dict[str, Any]:
        """A model's configuration, as Triton's extension of the protocol shows it.

        Raises:
            ScoringError: no answer, or not an answer of Triton.
        """
        return self._ask(f"/v2/models/{model}/config", None)

    def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Iterable[str] = ("score", "valid"),
        **sequence: Any,
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """One call.

        NaN and infinity are written as Triton reads them, although JSON has neither; other servers may refuse them.

        Args:
            model: its name.
            inputs: [B, ...] each; one number per row is [B, 1].
            outputs: what to ask for.
            sequence: `sequence_id`, `sequence_start` and `sequence_end`, for models with a state.

        Returns:
            The outputs by name, in the shapes the server gives.

        Raises:
            ScoringError: no answer, an error, or not what was asked for.
        """
        tensors = [
            {"name": name, "shape": list(x.shape), "datatype": _TYPES[str(x.dtype)], "data": x.ravel().tolist()}
            for name, x in inputs.items()
        ]
        names = list(outputs)
        body = {"inputs": tensors, "outputs": [{"name": name} for name in names], "parameters": sequence}
        answer = self._ask(f"/v2/models/{model}/infer", body)
        try:
            given = {each["name"]: _array(each) for each in answer["outputs"]}
            return {name: given[name] for name in names}
        except (KeyError, TypeError, ValueError) as err:
            raise self._odd(model, f"{type(err).__name__}: {err}") from err

    def _ask(self, path: str, body: Any) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, content, self._sent)
        try:
            with urlopen(request, timeout=self.timeout, context=self._tls) as response:
                answer = parse(_whole(response), not_finite=True, values=MOST_VALUES)
        except HTTPError as err:
            said = err.read(2000).decode(errors="replace")
            raise ScoringError(
                f"{self.url}{path}: answers {err.code} ({said[:300]}). Look into the server's log."
            ) from err
        except (OSError, ValueError) as err:
            raise ScoringError(
                f"{self.url}{path}: no answer ({err}). Check that the server runs and is ready."
            ) from err
        if not isinstance(answer, dict):
            raise self._odd(path, f"a {type(answer).__name__}")
        return answer

    def _odd(self, subject: str, found: str) -> ScoringError:
        return ScoringError(
            f"{self.url}: what it says about {subject} is not the Open Inference Protocol, version 2 ({found[:200]}). "
            "Check the address and the model's name."
        )


def _whole(response: IO[bytes]) -> bytes:
    content = response.read(LARGEST_ANSWER + 1)
    if len(content) > LARGEST_ANSWER:
        raise ValueError(f"more than {LARGEST_ANSWER} bytes")
    return content


def _array(tensor: Mapping[str, Any]) -> NDArray[Any]:
    flat = np.asarray(tensor["data"], dtype=_DTYPES[tensor["datatype"]]).ravel()
    shape = [int(size) for size in tensor["shape"]]
    if len(flat) != math.prod(shape):
        raise ValueError(f"{len(flat)} values for shape {shape}")
    return flat.reshape(shape)
