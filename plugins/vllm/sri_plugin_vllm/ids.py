"""Under which id a client knows a request."""

from __future__ import annotations

import re

_RANDOM = re.compile(r"(.+)-[0-9a-f]{8}")


def external_id(internal: str, *, randomised: bool) -> str:
    """The id that the engine was given, from its own, to which vLLM adds eight random digits.

    Args:
        internal: vLLM's id.
        randomised: whether it adds them; `VLLM_DISABLE_REQUEST_ID_RANDOMIZATION` turns that off.
    """
    match = _RANDOM.fullmatch(internal) if randomised else None
    return internal if match is None else match[1]
