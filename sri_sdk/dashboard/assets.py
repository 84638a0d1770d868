"""The files that pages load: read once, served from memory under an address that changes with their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from sri_sdk.report.looks import THEMES

NAMES = {
    "dashboard.css": "text/css; charset=utf-8",
    "axis.js": "text/javascript; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "vendor/htmx.min.js": "text/javascript; charset=utf-8",
    "vendor/uplot.min.js": "text/javascript; charset=utf-8",
    "vendor/uplot.min.css": "text/css; charset=utf-8",
    "icon-ok.svg": "image/svg+xml",
    "icon-look.svg": "image/svg+xml",
    "icon-act.svg": "image/svg+xml",
    "icon-idle.svg": "image/svg+xml",
}
"""Name -> media type; nothing else is served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    content: bytes
    media_type: str
    version: str
    """Begin of a hash of its content."""


def load_assets() -> dict[str, Asset]:
    """All of them, by name."""
    found = {}
    for name, media_type in NAMES.items():
        content = (files("sri_sdk.dashboard") / "static" / name).read_bytes()
        if name == "dashboard.css":
            # The colours are those of the reports.
            content = jinja2.Template(content.decode()).render(themes=THEMES).encode()
        found[name] = Asset(content, media_type, hashlib.sha256(content).hexdigest()[:12])
    return found
