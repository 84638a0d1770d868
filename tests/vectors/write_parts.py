"""Writes the test vectors of bundle format 2.

    python -m tests.vectors.write_parts [FOLDER]      exporters/onnx/runtimes/vectors without an argument

Those of format 1, and everything that is written by hand, stay as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from shutil import rmtree
from typing import Any

from sri_sdk.bundle.files import MANIFEST, SIGNATURE
from sri_sdk.bundle.signature import sign
from tests.vectors.part_cases import part_cases
from tests.vectors.part_refusals import part_refusals
from tests.vectors.parts import PARTS_GUARDS, write_parts
from tests.vectors.write import FOLDER, damage_of, keys


def write_part_vectors(target: Path, names: Collection[str] = tuple(PARTS_GUARDS)) -> None:
    """Writes those of the named guards; what was there of them is gone."""
    private, _ = keys()
    damage = []
    for number, (name, guard) in enumerate(PARTS_GUARDS.items()):
        if name not in names:
            continue
        if (target / name).exists():
            rmtree(target / name)
        bundle = write_parts(name, guard, 1000 + 20 * number, target / name / "bundle")
        (bundle.path / SIGNATURE).write_bytes(sign(bundle.unlisted[MANIFEST], private))
        _write(target / name / "cases.json", part_cases(bundle, guard, 1000 + 20 * number + 10))
        damage += damage_of(name, bundle, 100 + number)
    _write(target / "damage-2.json", damage)
    _write(target / "refusals-2.json", part_refusals(target))


def _write(path: Path, value: Any) -> None:
    """JSON with a line for each entry of a list."""
    path.write_text(_lines(value, "") + "\n", encoding="utf-8")


def _lines(value: Any, margin: str) -> str:
    inner = margin + " "
    if isinstance(value, dict) and "dtype" not in value:
        rows = [f"{json.dumps(key)}: {_lines(each, inner)}" for key, each in sorted(value.items())]
        return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{margin}}}"
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        rows = [json.dumps(each, sort_keys=True, allow_nan=False) for each in value]
        return "[\n" + ",\n".join(inner + row for row in rows) + f"\n{margin}]"
    return json.dumps(value, sort_keys=True, allow_nan=False)


if __name__ == "__main__":
    write_part_vectors(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
