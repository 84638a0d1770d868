"""The document as one page of HTML: no script, nothing from elsewhere, for wide and narrow screens, light and dark."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sri_sdk.serve.http import Answer
from sri_sdk.strict_json import write

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
.wide { overflow-x: auto; margin: .75rem 0 }
pre { overflow-x: auto; padding: .5rem .75rem; background: var(--soft); border-radius: .25rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line) }
""".strip()
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ERROR = "#/components/schemas/Error"
EXAMPLE = 'curl -H "Authorization: Bearer $TOKEN" "http://HOST:PORT/v1/verdicts/r1?wait_ms=500"'
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
    groups: dict[str, list[str]] = {each["name"]: [] for each in document["tags"]}
    about = {each["name"]: f"<p>{_words(each['description'])}</p>" for each in document["tags"]}
    errors: dict[str, str] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation))
            errors |= {status: each["description"] for status, each in _errors(operation)}
    schemas = document["components"]["schemas"]
    links = " ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in (*groups, "errors", "forms"))
    body = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{_words(info['description'])}</p>",
        "<p>Send a token as <code>Authorization: Bearer TOKEN</code> or <code>x-api-key</code>, where the server has "
        "tokens. The right it needs stands beside each path. "
        'As a document: <a href="openapi.json">openapi.json</a></p>',
        f"<pre>{escape(EXAMPLE)}</pre>" if "/v1/verdicts/{id}" in document["paths"] else "",
        f"<nav>{links}</nav>",
        *(
            f'<h2 id="{escape(name)}">{escape(name)}</h2>{about.get(name, "")}{"".join(made)}'
            for name, made in groups.items()
        ),
        f'<h2 id="errors">errors</h2><p>The body is {_kind({"$ref": ERROR})}.</p>',
        _table(("answer", "when"), ((escape(each), _words(errors[each])) for each in sorted(errors))),
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
        (
            f"<code>{escape(each['name'])}</code>{' (required)' if each['required'] else ''}",
            escape(each["in"]),
            _kind(each["schema"]),
            _words(each["description"]),
        )
        for each in operation["parameters"]
    ]
    body = operation.get("requestBody")
    asked = "" if body is None else f"<p>Body: {_content(body['content'])}</p>"
    refused = dict(_errors(operation))
    answers = [
        (escape(status), _content(each["content"]), _words(each["description"]))
        for status, each in operation["responses"].items()
        if status not in refused
    ]
    errors = f'<p><a href="#errors">Errors</a>: {", ".join(map(escape, refused))}</p>' if refused else ""
    return (
        f"<section><h3><code>{method} {escape(path)}</code></h3>"
        f'<p>{_words(operation["summary"])} <span class="right">{escape(right)}</span></p>'
        f"{_table(('parameter', 'in', 'form', 'what'), rows)}"
        f"{asked}{_table(('answer', 'form', 'when'), answers)}{errors}</section>"
    )


def _form(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(key)}</code>{'' if key in required else ' (optional)'}", _kind(each),
            _words(each.get("description", "")),
        )
        for key, each in schema.get("properties", {}).items()
    ]  # fmt: skip
    words = _words(schema.get("description", ""))
    return f'<section id="form-{escape(name)}"><h3>{escape(name)}</h3><p>{words}</p>{_table((), rows)}</section>'


def _errors(operation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The answers that are an error message."""
    return [
        (status, each)
        for status, each in operation["responses"].items()
        if each["content"].get("application/json", {}).get("schema") == {"$ref": ERROR}
    ]


def _words(text: str) -> str:
    """Plain text, where what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


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
        values = " | ".join(_value(each) for each in schema.get("enum", [schema.get("const")]))
        return values + _default(schema)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = escape(str(schema.get("type", "anything")))
    ends = [(word, schema[key]) for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    # The largest whole numbers of JSON say nothing to a person.
    bounds = [f"{word} {end}" for word, end in ends if end < 2**53 - 1]
    return " ".join([kind, *map(escape, bounds)]) + _default(schema)


def _default(schema: Mapping[str, Any]) -> str:
    return f"; default {_value(schema['default'])}" if schema.get("default") not in (None, "", [], {}) else ""


def _value(value: Any) -> str:
    return f"<code>{escape(value if isinstance(value, str) else write(value))}</code>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{each}</th>" for each in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not lines:
        return ""
    return f'<div class="wide"><table>{f"<tr>{titles}</tr>" if titles else ""}{lines}</table></div>'
