"""Fits the pages into the site: README.md is its home, and links that leave docs/ become names of files."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the home page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Name the language of the pages in Chinese, by which browsers choose fonts and voices."""
    return output.replace('lang="en"', 'lang="zh-Hans"', 1) if page.file.src_uri.endswith(".zh.md") else output


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links to files outside of docs/, which the site does not have, by their names."""
    home = page.file.src_uri == "index.md"
    folder = posixpath.dirname(page.file.src_uri)

    def kept(match: re.Match[str]) -> str:
        text, target = match[1], match[2].partition("#")[0]
        if re.match(r"[a-z]+:", match[2]) or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        inside = path.startswith("docs/") and (ROOT / path).is_file()
        if inside and (path.endswith((".md", ".svg", ".png"))):
            return match[0]
        there = target if home else path
        return text if text.strip("`") == there or not (ROOT / there).exists() else f"{text} (`{there}`)"

    pieces = _CODE.split(markdown)
    return "".join(piece if place % 2 else _LINK.sub(kept, piece) for place, piece in enumerate(pieces))
