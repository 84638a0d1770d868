"""What the try-outs of frameworks share: prompts with the status that is expected, the gate, and the count of answers.

They run in the framework's own environment: nothing here needs more than the SDK's base install.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sri_plugin_gateways.gate import Gate

import sri_sdk
from sri_sdk.strict_json import parse, write

FAIL_CLOSED = sri_sdk.Policy(rule="final", flagged="abort", unmonitored="abort")


@dataclass(frozen=True)
class Trial:
    """The servers to ask, and what to ask them."""

    backend: str
    """Base URL of the OpenAI-compatible server, with /v1."""
    gate: Gate
    prompts: tuple[tuple[str, str], ...]
    """(prompt, status its generation has)."""

    @classmethod
    def read(cls) -> Trial:
        """From the environment of this process."""
        client = sri_sdk.VerdictClient(
            os.environ["SRI_SERVE"], token=os.environ["SRI_TOKEN"], heartbeat_s=0, budget_s=10
        )
        gate = Gate(client, FAIL_CLOSED, wait_s=0.2)
        prompts = parse(Path(os.environ["LAB_PROMPTS"]).read_bytes())
        return cls(os.environ["LAB_BACKEND"], gate, tuple((p["prompt"], p["status"]) for p in prompts))

    def generate(self, prompt: str, request_id: str | None = None) -> tuple[str, str]:
        """(response, id), for frameworks that judge a response which somebody else generated."""
        request_id, parts = request_id or str(uuid4()), urlsplit(self.backend)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            body = write({"model": "lab", "messages": [{"role": "user", "content": prompt}]})
            headers = {"content-type": "application/json", "x-request-id": request_id}
            connection.request("POST", f"{parts.path}/chat/completions", body, headers)
            text: str = parse(connection.getresponse().read())["choices"][0]["message"]["content"]
            return text, request_id
        finally:
            connection.close()

    def counted(self, released: Callable[[str], bool]) -> dict[str, int]:
        """How many responses of each status the framework released, and how many it had.

        Args:
            released: asks the framework with a prompt; whether the response came out.
        """
        found = {name: 0 for name in ("clear", "clear_released", "flagged", "flagged_released")}
        for prompt, status in self.prompts:
            found[status] += 1
            found[f"{status}_released"] += released(prompt)
        return found

    @property
    def clear_prompt(self) -> str:
        """One whose response is clear."""
        return next(prompt for prompt, status in self.prompts if status == "clear")


def report(packages: tuple[str, ...], **found: Any) -> None:
    """Prints the result as the last line of standard output."""
    versions = {name: version(name) for name in packages}
    sys.stdout.write("\n" + write({"versions": versions, **found}) + "\n")
