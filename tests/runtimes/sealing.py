"""What somebody does who changes a bundle on purpose: mends every hash afterwards."""

import json
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.files import sha256

VECTORS = Path(__file__).parents[2] / "exporters/onnx/runtimes/vectors"


def sealed(folder: Path, manifest: dict[str, Any], *, sort: bool = True) -> Path:
    """Writes a manifest with hashes and a digest that fit, as somebody who means harm would."""
    for name in manifest["files"] if isinstance(manifest.get("files"), dict) else ():
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            manifest["files"][name] = {"sha256": sha256(content), "size": len(content)}
    text = json.dumps({**manifest, "digest": NO_DIGEST}, sort_keys=sort, indent=1) + "\n"
    own = f'\n "digest": "{sha256(text.encode())}"'
    (folder / "manifest.json").write_text(text.replace(f'\n "digest": "{NO_DIGEST}"', own, 1))
    return folder


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**70, 1.5, -0.0, 1e308, "", "a", "0" * 64, "final", "request", "all", [], [1],
    ["a"], {}, {"a": 1},
)  # fmt: skip


def with_odd_values(names: Sequence[str], count: int, seed: int, target: Path) -> list[Path]:
    """Copies of bundles of the vectors, each with an odd value in a random place of its manifest, or without one."""
    rng, folders = random.Random(seed), []
    for number in range(count):
        folder = Path(shutil.copytree(VECTORS / names[number % len(names)] / "bundle", target / f"odd-{number}"))
        manifest: Any = json.loads((folder / "manifest.json").read_text())
        spot = manifest
        while True:
            key = rng.choice(list(spot) if isinstance(spot, dict) else range(len(spot)))
            if not isinstance(spot[key], dict | list) or not spot[key] or rng.random() < 0.2:
                break
            spot = spot[key]
        if rng.random() < 0.1 and spot is not manifest:
            del spot[key]
        else:
            spot[key] = rng.choice(ODD)
        text = json.dumps({**manifest, "digest": NO_DIGEST}, sort_keys=True, indent=1) + "\n"
        own = f'\n "digest": "{sha256(text.encode())}"'
        (folder / "manifest.json").write_text(text.replace(f'\n "digest": "{NO_DIGEST}"', own, 1))
        folders.append(folder)
    return folders


def all_escaped(content: bytes) -> bytes:
    """A manifest with every character of every text written as an escape, but for its own digest."""
    plain = ('"digest"', f'"{NO_DIGEST}"')

    def spelt(found: re.Match[str]) -> str:
        if found[0] in plain:
            return found[0]
        return '"' + "".join(f"\\u{ord(c):04x}" for c in json.loads(found[0])) + '"'

    text = (
        re.sub(r'"(?:[^"\\]|\\.)*"', spelt, json.dumps({**json.loads(content), "digest": NO_DIGEST}, indent=1)) + "\n"
    )
    at = text.index('\n "digest": ')
    own = f'\n "digest": "{sha256(text.encode())}"'
    return (text[:at] + own + text[at + len(own) :]).encode()
