"""A report's files."""

from __future__ import annotations

from pathlib import Path

from sri_sdk.errors import MissingExtra
from sri_sdk.files import replacing
from sri_sdk.report.data import Report


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Writes `report.html`, which needs no other file, and each figure as a PNG.

    All is made before the first file is replaced, and each file is whole or absent.

    Returns:
        The paths, `report.html` first.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    try:
        from sri_sdk.report import figures, page
        from sri_sdk.report.themes import LIGHT
    except ImportError as err:
        raise MissingExtra("Writing a report", extra="report") from err
    contents = {"report.html": page.render(report).encode()}
    contents |= {f"{name}.png": figures.png(name, report, LIGHT) for name in figures.NAMES}
    paths = []
    for name, content in contents.items():
        path = Path(folder) / name
        with replacing(path) as made:
            made.write_bytes(content)
        paths.append(path)
    return tuple(paths)
