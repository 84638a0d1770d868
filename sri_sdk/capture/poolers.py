"""The pooler of each profile."""

from __future__ import annotations

from sri_sdk.capture.pool import Pooler
from sri_sdk.capture.pool_canvas import CanvasPooler
from sri_sdk.capture.pool_tokens import RunningPooler
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Scheme
from sri_sdk.pooling import PROFILES


def make_pooler(scheme: Scheme, profile: str) -> Pooler:
    """The pooler of a profile.

    Raises:
        ConfigError: the scheme has no such profile.
    """
    if profile not in PROFILES[scheme]:
        raise ConfigError(
            f"pooling {profile!r} is not defined for {scheme} models; allowed: {', '.join(PROFILES[scheme])}."
        )
    if scheme != "autoregressive":
        return CanvasPooler(only_committed=profile == "generated")
    return RunningPooler(ahead=profile == "predicting")
