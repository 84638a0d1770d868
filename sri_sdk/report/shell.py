"""What every page shares: one HTML file that needs no network and no other file.

Prompts and responses are untrusted. They reach a page escaped, as text or as JSON that never runs, and the page's
own policy allows one script and one style sheet by their hashes: a mark-up error would show, not execute.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from sri_sdk.report import drawing, looks, words


def page(template: str, **values: Any) -> str:
    """A page as text.

    Args:
        template: name of a file beside this one that extends `base.html`.
        values: what it shows; every string is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.printable(value) if type(value) is str else value,
    )
    environment.filters["records"] = lambda items: [asdict(item) for item in items]
    style = environment.get_template("page.css").render(themes=looks.THEMES)
    script = _read("player.js")
    shared: dict[str, Any] = {
        "words": words,
        "themes": looks.THEMES,
        "svg": _svg,
        "style": Markup(style),  # Ours: a template and our own colours, no text of a report.
        "script": Markup(script),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    return environment.get_template(template).render(**shared, **values)


def _svg(made: drawing.Drawing, theme: looks.Theme, *, wide: bool) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.render(made, theme, "svg", wide=wide)).decode()


def _read(name: str) -> str:
    return (files("sri_sdk.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
