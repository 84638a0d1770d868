"""From a template to a page. Everything is escaped, and what would steer or reorder a page is shown as its code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

from sri_sdk.dashboard import cures, words
from sri_sdk.dashboard.assets import Asset
from sri_sdk.report import words as report_words
from sri_sdk.strict_json import write
from sri_sdk.text import visible


class Renderer:
    """Templates with what all of them use.

    Args:
        assets: by name.
    """

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(_read), autoescape=True, trim_blocks=True, lstrip_blocks=True,
            undefined=jinja2.StrictUndefined, finalize=_shown,
        )  # fmt: skip
        self._environment.filters |= {
            "json": lambda value: words.Prose(write(value, separators=(",", ":"))),
            "prose": lambda value: words.Prose(report_words.printable(value)),
            "anchor": lambda value: "f-" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:12],
            "percent": words.percent,
            "count": words.count,
        }
        self._environment.globals |= {
            "words": words,
            "report_words": report_words,
            "cure": cures.cure,
            "asset": lambda name: f"/static/{name}?{assets[name].version}",
        }

    def page(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        """A page, or a part of one."""
        return HTMLResponse(self._environment.get_template(template).render(**values), status_code=status_code)


def _shown(value: Any) -> Any:
    """What a template prints: marks of direction and control characters of ids and names as codes."""
    return visible(value) if type(value) is str else value


def _read(name: str) -> str:
    return (files("sri_sdk.dashboard") / "templates" / name).read_text(encoding="utf-8")
