"""The files of a report: of one fit, of an evaluation, of a period of a deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sri_sdk.errors import MissingExtra
from sri_sdk.files import replacing
from sri_sdk.metrics.results import Evaluation, to_json
from sri_sdk.report.data import Report
from sri_sdk.report.period import Period

if TYPE_CHECKING:
    from sri_sdk.report.drawing import Drawing


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Writes `report.html`, which needs no other file, and each figure as a PNG.

    All is made before the first file is replaced, and each file is whole or absent.

    Returns:
        The paths, `report.html` first.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    try:
        from sri_sdk.report import fit_figures, fit_page
    except ImportError as err:
        raise MissingExtra("Writing a report", extra="report") from err
    drawings = fit_figures.drawings(report)
    return _write(folder, {"report.html": fit_page.render(report, drawings).encode()}, drawings)


def write_evaluation(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Writes `report.html`, which needs no other file, `results.json`, `tables.md`, and each figure as a PNG.

    All is made before the first file is replaced, and each file is whole or absent. A figure this evaluation has
    nothing for is removed, so that no older one stands beside the new page.

    Args:
        evaluation: the records; their texts are shown, and stored in both files.
        folder: made if it does not exist.

    Returns:
        The paths, `report.html` first, then `results.json` and `tables.md`.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    try:
        from sri_sdk.report import evaluation_figures, evaluation_page, markdown
    except ImportError as err:
        raise MissingExtra("Writing a report", extra="report") from err
    drawings = evaluation_figures.drawings(evaluation)
    texts = {
        "report.html": evaluation_page.render(evaluation, drawings).encode(),
        "results.json": (json.dumps(to_json(evaluation), indent=1, allow_nan=False) + "\n").encode(),
        "tables.md": markdown.tables(evaluation).encode(),
    }
    paths = _write(folder, texts, drawings)
    for name in evaluation_figures.FIGURES.keys() - drawings.keys():
        (Path(folder) / f"{name}.png").unlink(missing_ok=True)
    return paths


def write_period(period: Period, file: Path) -> None:
    """Writes the page of a period, one HTML file that needs no other; whole or not at all.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    try:
        from sri_sdk.report import period_figures, period_page
    except ImportError as err:
        raise MissingExtra("Writing a report", extra="report") from err
    content = period_page.render(period, period_figures.drawings(period)).encode()
    with replacing(file) as made:
        made.write_bytes(content)


def _write(folder: Path, contents: dict[str, bytes], drawings: Mapping[str, Drawing]) -> tuple[Path, ...]:
    from sri_sdk.report import drawing, looks

    contents |= {f"{name}.png": drawing.render(made, looks.LIGHT, "png") for name, made in drawings.items()}
    paths = []
    for name, content in contents.items():
        path = Path(folder) / name
        with replacing(path) as made:
            made.write_bytes(content)
        paths.append(path)
    return tuple(paths)
