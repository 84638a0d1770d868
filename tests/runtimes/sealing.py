"""What somebody does who changes a bundle on purpose: mends every hash afterwards."""

import json
import re
from pathlib import Path
from typing import Any

from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.files import sha256


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
