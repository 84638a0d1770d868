"""How long verdicts are kept, as settings say it. Knows no database, so that settings can be read without one."""

from __future__ import annotations

from pydantic import Field

from sri_sdk.plugin import Config


class Retention(Config):
    """How long verdicts are kept. The oldest go first."""

    keep_days: float | None = Field(default=30.0, gt=0, description="Age at which verdicts are erased; null = never.")
    keep_rows: int | None = Field(
        default=10_000_000, ge=1, description="Verdicts that are kept, the newest; null = all of them."
    )
    keep_bytes: int | None = Field(
        default=None,
        ge=2**10,
        description="Bytes of verdicts that are kept, the newest, counted as text and signals; the database takes two "
        "to three times as much. null = no limit.",
    )
    keep_counts_days: float | None = Field(
        default=400.0,
        gt=0,
        description="Age at which counts per hour are deleted: they name nobody, and stay when verdicts go. null = "
        "never.",
    )
