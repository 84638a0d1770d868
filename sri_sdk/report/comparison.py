"""The files of a comparison of detectors: Markdown and JSON always, a page where the extra `report` is installed."""

from __future__ import annotations

import json
from pathlib import Path

from sri_sdk.files import write_text
from sri_sdk.metrics.comparison import WARNING, Comparison, missing_lines, tables
from sri_sdk.report import markdown

NAME = "compare"
"""Of the files, without their endings."""
TITLE = "Detectors compared"


def write_comparison(found: Comparison, folder: Path) -> tuple[Path, ...]:
    """Writes `compare.json` and `compare.md`, and `compare.html` where matplotlib and jinja2 are installed.

    Each file is whole or absent; a page of an earlier comparison is removed where none can be made.

    Returns:
        The paths.
    """
    texts = {
        f"{NAME}.json": json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n",
        f"{NAME}.md": text(found),
    }
    try:
        from sri_sdk.report.comparison_page import render
    except ImportError:
        (Path(folder) / f"{NAME}.html").unlink(missing_ok=True)
    else:
        texts[f"{NAME}.html"] = render(found)
    for name, content in texts.items():
        write_text(Path(folder) / name, content)
    return tuple(Path(folder) / name for name in texts)


def text(found: Comparison) -> str:
    """As Markdown: the tables, with n and interval in each cell, and what is not in them."""
    parts = [f"# {TITLE}\n", f"{WARNING}\n", *(markdown.table_text(made) for made in tables(found))]
    if found.missing:
        parts.append("**Not compared**\n")
        parts.append("\n".join(f"* {markdown.escaped(line)}" for line in missing_lines(found)) + "\n")
    return "\n".join(parts)
