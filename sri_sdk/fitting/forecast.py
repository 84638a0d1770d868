"""How long a fit or an evaluation will take, said once its first batch is done."""

from __future__ import annotations

import time

from sri_sdk.fitting.collect import Progress
from sri_sdk.fitting.request_stage import STAGE as REQUEST
from sri_sdk.fitting.tally import log

WORTH_SAYING = 1.0
"""Seconds a batch takes at least: what is faster was kept by an interrupted run, or is done before one can read."""


class Forecast:
    """Passes progress on; logs the time to expect after the first batch that was really generated."""

    def __init__(self, prompts: int, progress: Progress) -> None:
        """Expects `prompts` generations in all stages together; requests that are only read do not count."""
        self._left, self._progress, self._said = prompts, progress, False
        self._last: tuple[str, int, float] | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """As `Progress`."""
        now = time.monotonic()
        if stage.partition(" ")[0] == REQUEST:
            # One pass each, many times as fast: their pace says nothing of the rest.
            self._progress(stage, done, total)
            return
        if self._last is not None and self._last[0] == stage:
            made, seconds = done - self._last[1], now - self._last[2]
            self._left -= made
            if made and seconds >= WORTH_SAYING and self._left > 0 and not self._said:
                self._said = True
                rate = made / seconds
                log.info("%.3g prompts/s: about %s for the %d prompts left", rate, words(self._left / rate), self._left)
        self._last = stage, done, now
        self._progress(stage, done, total)


def words(seconds: float) -> str:
    """A duration for people: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
