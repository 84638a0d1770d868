"""Which look at traffic is the next one, over the ends of processes: a look spends a part of the stated false rate."""

from __future__ import annotations

from pathlib import Path

from sri_sdk.errors import ConfigError
from sri_sdk.files import write_text
from sri_sdk.strict_json import JsonError, parse, write

LOOKS = "traffic-looks.json"
"""Name of the file, in the folder of a deployment."""


def next_look(path: Path, bundle: str) -> int:
    """Number of the look that begins now: each look is taken once, also where a process died in the middle of one.

    Raises:
        ConfigError: the file cannot be read, or is something else.
    """
    try:
        found = parse(path.read_bytes())
    except FileNotFoundError:
        return 1
    except (OSError, JsonError) as err:
        raise ConfigError(f"{path}: cannot be read ({type(err).__name__}). Delete it, or restore it.") from err
    if not isinstance(found, dict) or type(found.get("look")) is not int or found["look"] < 1:
        raise ConfigError(f"{path}: says no number of a look. Delete it, or restore it.")
    return int(found["look"]) + 1 if found.get("bundle") == bundle else 1


def keep_look(path: Path, bundle: str, look: int) -> None:
    """Writes down which look is on.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write_text(path, write({"sri_traffic_looks": 1, "bundle": bundle, "look": look}))
    except OSError as err:
        raise ConfigError(
            f"{path}: cannot be written ({err.strerror or type(err).__name__}). Name a folder that can be."
        ) from err
