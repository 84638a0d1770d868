"""What may be asked of workers, for vLLM's `--worker-extension-cls sri_plugin_vllm.extension.GuardExtension`.

llm.collective_rpc("sri_state")      [{"watching": true, "begun": 12, ...}]
llm.collective_rpc("sri_flush", args=(5.0,))
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any


class GuardExtension:
    """Mixed into vLLM's worker. The tap needs it not: it is for operators who ask an engine how its guard is."""

    def sri_state(self) -> dict[str, Any]:
        """What became of the requests so far, as JSON types; a worker that does not watch says so."""
        from sri_plugin_vllm.here import tap_here

        tap = tap_here()
        return {"watching": False} if tap is None else {"watching": True, **asdict(tap.desk.counts)}

    def sri_flush(self, timeout_s: float) -> bool:
        """Waits until every ended request has its verdict and it was delivered; says whether that was reached."""
        from sri_plugin_vllm.here import tap_here

        tap = tap_here()
        return True if tap is None else tap.desk.flush(timeout_s)
