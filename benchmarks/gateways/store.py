"""`POST /v1/verdicts` and `GET /v1/verdicts/{id}`, in a few lines of the standard library."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from sri_sdk.records import Verdict
from sri_sdk.strict_json import parse, write


class Store:
    """Where verdicts are posted and looked up. One connection per call: few calls, and no state to go stale."""

    def __init__(self, url: str, token: str | None = None, seconds: float = 10.0) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._seconds = parts.hostname or "127.0.0.1", parts.port or 80, seconds
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}

    def post(self, verdicts: Iterable[Verdict]) -> None:
        """Returns once they are stored.

        Raises:
            OSError: they may not be.
        """
        body = write({"verdicts": [verdict.to_dict() for verdict in verdicts], "source": "lab"})
        status, _ = self._ask("POST", "/v1/verdicts", body.encode())
        if status != 200:
            raise OSError(f"store: status {status}; the verdict may not be there")

    def lookup(self, request_id: str, *, wait_s: float = 0.0) -> Verdict:
        """As `sri_sdk.VerdictClient.lookup`, for environments that hold nothing but the framework under test."""
        status, found = self._ask("GET", f"/v1/verdicts/{quote(request_id, safe='')}?wait_ms={int(wait_s * 1000)}")
        if status not in (200, 404):
            raise OSError(f"store: status {status}")
        said = found["verdict"]
        return Verdict(request_id, said["status"], tuple(said.get("reasons", ())), said.get("score"))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
        try:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, parse(answer.read())
        finally:
            connection.close()
