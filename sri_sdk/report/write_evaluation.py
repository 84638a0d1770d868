"""The files of an evaluation's report."""

from __future__ import annotations

import json
from pathlib import Path

from sri_sdk.errors import MissingExtra
from sri_sdk.files import replacing
from sri_sdk.metrics.results import Evaluation, to_json


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
        MissingExtra: matplotlib, jinja2 or scipy is not installed.
    """
    try:
        from sri_sdk.report import evaluation_figures, evaluation_page, markdown
        from sri_sdk.report.themes import LIGHT
    except ImportError as err:
        raise MissingExtra("Writing a report", extra="report") from err
    contents = {
        "report.html": evaluation_page.render(evaluation).encode(),
        "results.json": (json.dumps(to_json(evaluation), indent=1, allow_nan=False) + "\n").encode(),
        "tables.md": markdown.tables(evaluation).encode(),
    }
    names = evaluation_figures.drawn(evaluation)
    contents |= {f"{name}.png": evaluation_figures.png(name, evaluation, LIGHT) for name in names}
    paths = []
    for name, content in contents.items():
        path = Path(folder) / name
        with replacing(path) as made:
            made.write_bytes(content)
        paths.append(path)
    for name in evaluation_figures.NAMES:
        if name not in names:
            (Path(folder) / f"{name}.png").unlink(missing_ok=True)
    return tuple(paths)
