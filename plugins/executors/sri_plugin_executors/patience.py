"""How long a worker may be at one batch: the option, and what is said of one that is ended. The same everywhere."""

from __future__ import annotations

import time

from pydantic import Field

import sri_sdk


class PatientConfig(sri_sdk.Config):
    """The option of every executor that can end a worker."""

    patience: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that a worker may be at one batch, the loading of its model included, or be waited for "
        "while there is no other; then it is ended, and another makes the batch. null = for ever.",
    )

    def over(self, since: float, what: str = "no answer") -> str | None:
        """Why a worker is ended; None = it is not yet.

        Args:
            since: when it was started or given its batch, by `time.monotonic`.
            what: that it is waited for.
        """
        seconds = time.monotonic() - since
        if self.patience is None or seconds <= self.patience:
            return None
        return f"{what} for {seconds:.0f} s (patience: {self.patience:g} s), so it was ended"
