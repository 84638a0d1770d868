"""The document as one page of HTML: no script, nothing from elsewhere, for wide and narrow screens, light and dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sri_sdk.serve.http import Answer

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --link: light-dark(#0b57d0, #8ab4f8) }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }
a { color: var(--link) }
section { margin: 1rem 0; padding: .25rem 1rem 1rem; border: 1px solid var(--line); border-radius: .5rem }
.right { background: var(--soft); border: 1px solid var(--line); border-radius: .25rem; padding: 0 .4rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line) }
""".strip()
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def page(document: Mapping[str, Any]) -> Answer:
    """The page of an OpenAPI document, with headers that keep a browser from loading anything else."""
    return Answer(200, html(document).encode(), b"text/html; charset=utf-8", HEADERS)


def html(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation))
    schemas = document["components"]["schemas"]
    links = " ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in (*groups, "forms"))
    body = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        "<p>Send a token as <code>Authorization: Bearer TOKEN</code> or <code>x-api-key</code>, where the server has "
        "tokens. The right it needs stands beside each path. "
        'As a document: <a href="openapi.json">openapi.json</a></p>',
        f"<nav>{links}</nav>",
        *(f'<h2 id="{escape(name)}">{escape(name)}</h2>{"".join(made)}' for name, made in groups.items()),
        '<h2 id="forms">forms</h2>',
        *(_form(name, schema) for name, schema in schemas.items()),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    right = next((rights[0] for each in operation["security"] for rights in each.values()), "open")
    rows = [
        (f"<code>{escape(each['name'])}</code>", escape(each["in"]), _kind(each["schema"]), escape(each["description"]))
        for each in operation["parameters"]
    ]
    body = operation.get("requestBody")
    asked = "" if body is None else f"<p>Body: {_content(body['content'])}</p>"
    answers = [
        (escape(status), _content(each["content"]), escape(each["description"]))
        for status, each in operation["responses"].items()
    ]
    return (
        f"<section><h3><code>{method} {escape(path)}</code></h3>"
        f'<p>{escape(operation["summary"])} <span class="right">{escape(right)}</span></p>'
        f"{_table(('parameter', 'in', 'form', 'what'), rows)}"
        f"{asked}{_table(('answer', 'form', 'when'), answers)}</section>"
    )


def _form(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(key)}</code>{'' if key in required else ' (optional)'}", _kind(each),
            escape(each.get("description", "")),
        )
        for key, each in schema.get("properties", {}).items()
    ]  # fmt: skip
    words = escape(schema.get("description", ""))
    return f'<section id="form-{escape(name)}"><h3>{escape(name)}</h3><p>{words}</p>{_table((), rows)}</section>'


def _content(content: Mapping[str, Any]) -> str:
    return ", ".join(
        _kind(each["schema"]) if kind == "application/json" else f"<code>{escape(kind)}</code>"
        for kind, each in content.items()
    )


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#form-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " | ".join(f"<code>{escape(str(each))}</code>" for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = escape(str(schema.get("type", "anything")))
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([kind, *map(escape, bounds)])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{each}</th>" for each in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not lines:
        return ""
    return f'<div class="wide"><table>{f"<tr>{titles}</tr>" if titles else ""}{lines}</table></div>'
