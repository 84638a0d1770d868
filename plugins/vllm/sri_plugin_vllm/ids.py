"""Under which id a client knows a request."""

from __future__ import annotations

import re

_FIRST_TURN = re.compile(r"(resp_[0-9a-f]+)_0")
_RANDOM = re.compile(r"(.+)-[0-9a-f]{8}")


def external_id(internal: str, *, randomised: bool) -> str:
    """The id that a client is told: the engine's own without the eight random digits that vLLM adds.

    `/v1/responses` tells one id, and numbers the generations of the response behind it: the first has the id itself,
    those after a call of the server's tools keep their numbers.

    Args:
        internal: vLLM's id.
        randomised: whether it adds them; `VLLM_DISABLE_REQUEST_ID_RANDOMIZATION` turns that off.
    """
    match = _RANDOM.fullmatch(internal) if randomised else None
    given = internal if match is None else match[1]
    first = _FIRST_TURN.fullmatch(given)
    return given if first is None else first[1]
