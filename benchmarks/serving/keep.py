"""One JSON file for all results of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write


def keep(path: Path, name: str, found: Any) -> None:
    """Puts one result beside the others."""
    kept = parse(path.read_bytes()) if path.exists() else {}
    write_text(path, write({**kept, name: found}, indent=1) + "\n")
