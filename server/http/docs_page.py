"""The browsable page of the API, made of the OpenAPI document; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

__all__ = ["docs_page"]

STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
details{border:1px solid #d0d7de;border-radius:6px;margin:.5rem 0;padding:.5rem .8rem}
summary{cursor:pointer}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f6f8fa;padding:.6rem;overflow:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top;border-top:1px solid #eaeef2}
b.m{display:inline-block;width:3.5rem;color:#0550ae}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}pre{background:#161b22}
details,td,th{border-color:#30363d}b.m{color:#79c0ff}}
"""


def docs_page(document: dict[str, Any]) -> bytes:
    """Return the page as HTML."""
    sections = [
        _operation(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{title}</h1>'
        '<p>For programs: <a href="openapi.json">openapi.json</a>. Send the token as'
        " <code>Authorization: Bearer …</code>, or as <code>bearer_token</code> in the query."
        " Every error has the body <code>{&quot;error&quot;: {&quot;code&quot;,"
        " &quot;message&quot;}}</code>.</p>"
        f"{''.join(sections)}</html>"
    ).encode()


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parameters = [(p["name"], p["in"], p.get("description", "")) for p in operation["parameters"]]
    answers = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    return (
        f'<details><summary><b class="m">{method.upper()}</b><code>{escape(path)}</code>'
        f" {escape(operation['summary'])}</summary><p>{escape(operation.get('description', ''))}</p>"
        f"{_table('Parameters', parameters)}{_body(operation, document)}{_table('Answers', answers)}"
        f"<pre>{escape(_example(method, path))}</pre></details>"
    )


def _body(operation: dict[str, Any], document: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
    required = schema.get("required", [])
    rows = [
        (name, "required" if name in required else "", field["description"])
        for name, field in schema["properties"].items()
    ]
    return _table("Body (JSON)", rows)


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h4>{escape(title)}</h4><table>{lines}</table>"


def _example(method: str, path: str) -> str:
    body = " -d '{}'" if method in ("post", "put") else ""
    return (
        f'curl -X {method.upper()} -H "Authorization: Bearer $MILLHAND_TOKEN" "$MILLHAND_API_URL{path}"{body}'
    )
