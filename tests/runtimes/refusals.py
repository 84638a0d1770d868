"""The shared vectors of what every reader refuses, as texts and as bundles."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.files import sha256
from sri_sdk.strict_json import VALUES
from tests.runtimes.programs import RUNTIMES

REFUSALS: dict[str, Any] = json.loads((RUNTIMES / "vectors/refusals.json").read_text(encoding="utf-8"))
GRAMMAR = [
    (kind, one["name"], base64.b64decode(one["base64"])) for kind, all_ in REFUSALS["grammar"].items() for one in all_
]
"""(refused or accepted, name, JSON text)."""
MANY = [("accepted", "[" + ",".join("1" * (VALUES - 1)) + "]"), ("refused", "[" + ",".join("1" * VALUES) + "]")]
"""As many values as a text may have, and one more: too long for a file of vectors."""
GRAMMAR += [(kind, f"2^20 values, {kind}", text.encode()) for kind, text in MANY]
MANIFESTS: list[dict[str, Any]] = REFUSALS["manifest"]["refused"]
FINE_MANIFESTS: list[dict[str, Any]] = REFUSALS["manifest"]["accepted"]


def _signals() -> tuple[list[tuple[str, bytes, str]], list[tuple[str, bytes]]]:
    lines, heads = REFUSALS["signal_lines"], REFUSALS["signal_heads"]
    before, after = base64.b64decode(lines["before"]), base64.b64decode(heads["after"])
    refused, accepted = [], []
    for parts, kind, place, front, back in (
        (lines, "line", ", line 2: ", before, b""),
        (heads, "head", ", line 1: ", b"", after),
        (REFUSALS["signal_files"], "file", "", b"", b""),
    ):
        for one in parts["refused"]:
            refused.append((f"{kind}: {one['name']}", front + base64.b64decode(one["base64"]) + back, place))
        for one in parts["accepted"]:
            accepted.append((f"{kind}: {one['name']}", front + base64.b64decode(one["base64"]) + back))
    return refused, accepted


SIGNALS_REFUSED, SIGNALS_ACCEPTED = _signals()
"""(name, JSON lines, what the message must name) and (name, JSON lines): for a guard of 16 cells and one layer that
reads sigma."""


PART_REFUSALS: dict[str, Any] = json.loads((RUNTIMES / "vectors/refusals-2.json").read_text(encoding="utf-8"))
PART_MANIFESTS: dict[str, list[dict[str, Any]]] = PART_REFUSALS["manifest"]
"""refused and accepted -> cases for `bundle_of`, of format 2."""
PART_SIGNALS: dict[str, list[dict[str, Any]]] = {
    kind: [{**one, "content": base64.b64decode(one["base64"])} for one in cases]
    for kind, cases in PART_REFUSALS["signals"].items()
}
"""refused and accepted -> name, bundle, and JSON lines for it."""


def bundle_of(case: dict[str, Any], folder: Path) -> Path:
    """A bundle of the vectors with values of its manifest replaced, and a digest that fits."""
    shutil.copytree(RUNTIMES / "vectors" / case.get("bundle", "autoencoder") / "bundle", folder)
    for name, content in case.get("files", {}).items():
        (folder / name).write_bytes(base64.b64decode(content))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["digest"], texts = NO_DIGEST, {}
    for number, change in enumerate(case.get("changes", [case])):
        *above, key = change["path"]
        place = manifest
        for name in above:
            place = place[name]
        if "json" in change:
            place[key], texts[f'"<{number}>"'] = f"<{number}>", change["json"]
        else:
            del place[key]
    text = json.dumps(manifest, sort_keys=True, indent=1) + "\n"
    for mark, value in texts.items():
        text = text.replace(mark, value)
    own = f'\n "digest": "{sha256(text.encode())}"'
    (folder / "manifest.json").write_text(text.replace(f'\n "digest": "{NO_DIGEST}"', own, 1))
    return folder
