"""One HTML file of data and the scripts of `assets/`: nothing is loaded, and nothing of the data is ever code."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib import resources
from typing import Any

from onnxnorm.report.texts import shown

__all__ = ["html_of"]

# dagre comes first; the others in the order in which they build on each other.
_SCRIPTS = ("dagre.min.js", "base.js", "layout.js", "graph.js", "detail.js", "charts.js", "ranges.js", "main.js")


def html_of(data: dict[str, Any], title: str) -> str:
    """Return the page that shows `data`; its policy lets a browser run the page's own script, and load nothing."""
    style, script = _asset("page.css"), "\n".join(_asset(name) for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(shown(title)),
        "style": style,
        "data": _in_script(data),
        "script": script,
    }
    page = []
    for place, piece in enumerate(_asset("page.html").split("@")):
        # Names of parts stand between two of the signs.
        page.append(parts[piece] if place % 2 else piece)
    return "".join(page)


def _in_script(data: dict[str, Any]) -> str:
    """Return JSON without the characters that could end a script block, in ASCII alone."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
