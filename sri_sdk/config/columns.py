"""Which columns a guard has, and which of them each of its parts reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import did_you_mean
from sri_sdk.records import REQUEST

USUAL = ("sri@*",)
"""Patterns of columns that a detector reads where neither it nor the config says anything."""
SRI = "sri@"
ABOVE, HARMFUL = "score_above_threshold", "request_harmful"
"""Reason codes of an alarm: of a part that reads the signal, and of one that reads the request alone."""


def names_of(layers: Sequence[str | int], *, request: bool) -> tuple[str, ...]:
    """The names of all columns, in order: one for each tapped layer, then `request` if there is one."""
    return (*(f"{SRI}{layer}" for layer in layers), *((REQUEST,) if request else ()))


def chosen(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The names that a pattern fits, in the order of `names`."""
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def patterns_of(written: Sequence[str] | None, detector: Any) -> tuple[str, ...]:
    """What a part reads: as its section says, else as its detector's class does."""
    usual: Sequence[str] = getattr(detector, "columns", USUAL)
    return tuple(written or usual)


def unknown(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """What is wrong with patterns: those that fit no column."""
    return [
        f"{pattern!r} fits no column; the guard has: {', '.join(names)}.{did_you_mean(pattern, names)}"
        + (" A section `request` adds the column." if pattern == REQUEST and REQUEST not in names else "")
        for pattern in patterns
        if not chosen([pattern], names)
    ]


def reads(config: FitConfig, detectors: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Part -> names of the columns it reads.

    Args:
        config: of the deployment.
        detectors: part -> its detector, or the class of it.
    """
    names = names_of(config.tap.layers, request=config.request is not None)
    parts = config.named_parts()
    return {name: chosen(patterns_of(part.columns, detectors.get(name)), names) for name, part in parts.items()}


def needs_format_2(config: FitConfig, found: Mapping[str, Sequence[str]]) -> bool:
    """Whether the guard is more than one detector on the whole SRI signal with one threshold for all requests, which is
    all that bundles of format 1 hold; see `reads`."""  # fmt: skip
    names = names_of(config.tap.layers, request=False)
    grouped = config.folds.calibration.groups != "none"
    several = config.request is not None or config.parts is not None or grouped
    return several or any(tuple(f) != names for f in found.values())


def needs_sri(found: Mapping[str, Sequence[str]]) -> bool:
    """Whether some part reads a column of the SRI signal, so that anchors are needed; see `reads`."""
    return any(name.startswith(SRI) for names in found.values() for name in names)


def reason_of(written: str | None, columns: Sequence[str]) -> str:
    """The reason code of a part's alarms."""
    return written or (HARMFUL if tuple(columns) == (REQUEST,) else ABOVE)
