"""The page: one HTML file of template, style, script, library and data, which needs and allows no network.

Data and library are gzip in base64: small to mail, and nothing in a row can be taken for markup. The policy
in the page's head lets only the two scripts run whose hashes it names, whatever stands in the rows.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from string import Template
from typing import Any

__all__ = ["page"]

SCRIPTS = ("dom", "data", "table", "filters", "charts", "cell", "main")
"""Our scripts, in the order in which they are put into one."""


def page(title: str, library: str, table: Mapping[str, Any], details: Iterable[Mapping[str, Any]]) -> str:
    """Return the HTML of a report.

    Args:
        title: of the page.
        library: the plotting library's JavaScript.
        table: what the page shows at once.
        details: blocks that it looks into when a cell is opened.
    """
    parts = {"library": library.encode(), "table": _json(table)}
    parts |= {f"details-{number}": _json(block) for number, block in enumerate(details)}
    script = _script()
    return Template(_text("page.html")).substitute(
        title=html.escape(title),
        scripts=" ".join(f"'sha256-{_hash(text)}'" for text in (script, library)),
        style=_text("page.css"),
        script=script,
        parts="\n".join(_element(name, part) for name, part in parts.items()),
    )


def _script() -> str:
    body = "\n".join(_text(f"{name}.js") for name in SCRIPTS)
    return f'\n"use strict";\n(() => {{\n{body}}})();\n'


def _text(name: str) -> str:
    return (files(__package__) / "page" / name).read_text("utf-8")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        errors="surrogatepass"
    )


def _element(name: str, data: bytes) -> str:
    packed = base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")
    return f'<script type="text/plain" id="{name}">{packed}</script>'


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
