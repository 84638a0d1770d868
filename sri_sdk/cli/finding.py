"""One line of what `sri doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "no", "thin", "absent", "broken"]
"""`no` = a hook for another family, `thin` = enough to go on, but more is better, `absent` = optional and not
installed, `broken` = needs mending."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    subject: str
    state: State
    detail: str
    """What was found and, if something is wrong, what to run."""
