"""The request column of a run: one number per request, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.detector import Domain
from sri_sdk.records import REQUEST, RequestStates, Signals

NOT_LOCATED = "request_not_located"
"""Nobody could say which tokens of the prompt are the request."""
NOT_SEEN = "prompt_not_seen"
"""It is known where the request is, but no pass showed all of it: a cache of prefixes may have spared one."""
FAILED = "request_failed"
"""The hook failed over the prompt's passes, or a state of the request is not finite; the signal is not touched."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestColumn:
    """What the states of R requests say of them."""

    logit: NDArray[np.float32]
    """[R] log-odds in [-1000, 1000], high = harmless; NaN where missing."""
    missing: tuple[str | None, ...]
    """Per request: code of why it has no number; None = it has one."""

    @classmethod
    def of(cls, anchors: Anchors, states: RequestStates | None, requests: int, *, failed: bool) -> RequestColumn:
        """Sends the states through the map.

        Args:
            anchors: with the map.
            states: as they were read; None = nobody said where the requests are.
            requests: R.
            failed: whether reading them raised.
        """
        logit = np.full(requests, np.nan, dtype=np.float32)
        if failed or states is None or anchors.request is None:
            return cls(logit, (FAILED if failed else NOT_LOCATED,) * requests)
        if states.states.shape[1:] == anchors.request.weight.shape:
            logit[states.complete] = anchors.request.log_odds(states.states[states.complete])
        whys = [
            NOT_LOCATED if not located else NOT_SEEN if not seen else FAILED if np.isnan(number) else None
            for located, seen, number in zip(states.located, states.complete, logit, strict=True)
        ]
        return cls(logit, tuple(whys))

    def take(self, rows: Sequence[int]) -> RequestColumn:
        """The column of some of the requests, in this order."""
        return RequestColumn(self.logit[list(rows)], tuple(self.missing[row] for row in rows))

    def domain(self, name: Domain) -> NDArray[np.float32]:
        """The numbers as a guard of this domain reads them, [R] float32."""
        if name == "logit":
            return self.logit
        # As the graphs compute it, in float32; at -20 and 20 nothing overflows.
        squeezed: NDArray[np.float32] = (1 / (1 + np.exp(-self.logit))).astype(np.float32)
        return squeezed

    def behind(self, values: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
        """Signals [R, T, S] float32 of a domain -> [R, T, S + 1], with this column in all cells, last."""
        column = np.repeat(self.domain(domain)[:, None, None], values.shape[1], axis=1)
        return np.concatenate([values, column], axis=2)

    def beside(self, signals: Signals, anchors: Anchors) -> Signals:
        """The signals with this column behind the others."""
        return replace(
            signals,
            sigma=self.behind(signals.sigma, "sigma"),
            logit=self.behind(signals.logit, "logit"),
            columns=tuple(each.name for each in anchors.columns),
            missing={REQUEST: self.missing} if any(self.missing) else None,
        )
