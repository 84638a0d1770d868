"""The tables of `benchmarks/store.md`: `python -m benchmarks.store.tables benchmarks/store.json`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sri_sdk.strict_json import parse


def tables(found: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| page | first, ms | median, ms | processor, ms |"
    yield "|---|---|---|---|"
    for name, page in found["pages"].items():
        yield f"| {name} | {page['first_ms']:.0f} | {page['median_ms']:.0f} | {page['processor_ms']:.0f} |"
    yield ""
    yield "| an observation | bytes |"
    yield "|---|---|"
    for name, size in found["sizes"].items():
        yield f"| {name} | {size:,} |"


if __name__ == "__main__":
    print("\n".join(tables(parse(Path(sys.argv[1]).read_bytes()))))
