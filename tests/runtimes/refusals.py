"""The shared vectors of what every reader refuses, as texts and as bundles."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.files import sha256
from tests.runtimes.programs import RUNTIMES

REFUSALS: dict[str, Any] = json.loads((RUNTIMES / "vectors/refusals.json").read_text(encoding="utf-8"))
GRAMMAR = [
    (kind, one["name"], base64.b64decode(one["base64"])) for kind, all_ in REFUSALS["grammar"].items() for one in all_
]
"""(refused or accepted, name, JSON text)."""
MANIFESTS: list[dict[str, Any]] = REFUSALS["manifest"]["refused"]


def bundle_of(case: dict[str, Any], folder: Path) -> Path:
    """The autoencoder with one value of its manifest replaced, and a digest that fits."""
    shutil.copytree(RUNTIMES / "vectors/autoencoder/bundle", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    *above, key = case["path"]
    place = manifest
    for name in above:
        place = place[name]
    place[key], manifest["digest"] = "<here>", NO_DIGEST
    text = json.dumps(manifest, sort_keys=True, indent=1).replace('"<here>"', case["json"]) + "\n"
    own = f'\n "digest": "{sha256(text.encode())}"'
    (folder / "manifest.json").write_text(text.replace(f'\n "digest": "{NO_DIGEST}"', own, 1))
    return folder
