"""Makes a gallery: a report page for each model of this collection and for the light models of the package onnx.

python -m models.gallery                     # all of them, into out/gallery/
python -m models.gallery --only unet light_resnet50
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

import onnxnorm
from models import MODELS
from onnxnorm.report import ReportPage, report_page

__all__ = ["LIGHT", "card", "index", "main", "page_of"]

LIGHT = {path.stem: path for path in (Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx")}

_STYLE = """:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
a { display: block; border: 1px solid #8886; border-radius: 8px; padding: 0.6rem 1rem; color: inherit; }
a { text-decoration: none; } a:hover, a:focus { outline: 3px solid #0072b2; } h2 { margin: 0; font-size: 1.1rem; }"""


def page_of(name: str, folder: Path) -> ReportPage:
    """Make the report page of one model, which is exported into `folder` where it is one of ours."""
    path = LIGHT.get(name)
    if path is None:
        spec, path = MODELS[name], folder / f"{name}.onnx"
        onnxnorm.export(spec.build(), spec.example_inputs(), path, dynamic_shapes=spec.dynamic_shapes)
    result = onnxnorm.optimize(path)
    return report_page(path, result, name=name, verification=result.report)


def card(name: str, page: ReportPage) -> str:
    """Return the card of one model: a link to its page, with what became of it."""
    title = MODELS[name].summary if name in MODELS else "from the test data of the package onnx"
    lines = page.summary.splitlines()[1:3]
    text = "<br>".join(html.escape(line) for line in (title, *lines))
    return f'<a href="{html.escape(name)}.html"><h2>{html.escape(name)}</h2>{text}</a>'


def index(cards: Mapping[str, str]) -> str:
    """Return the page with all cards."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width"><title>onnxnorm gallery</title><style>{_STYLE}</style>'
    body = f"<h1>Gallery</h1><main>{''.join(cards.values())}</main>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def main(arguments: Sequence[str] | None = None) -> int:
    names = [*MODELS, *sorted(LIGHT)]
    parser = argparse.ArgumentParser(prog="python -m models.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/gallery"), metavar="DIR", help="default: out/gallery")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    cards, failed = {}, 0
    for name in options.only or names:
        try:
            page = page_of(name, options.out)
        except onnxnorm.OnnxNormError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
            continue
        page.save(options.out / f"{name}.html")
        cards[name] = card(name, page)
        print(f"{name}: {len(page.html) / 1e6:.2f} MB, {page.summary.splitlines()[1]}", flush=True)
    (options.out / "index.html").write_text(index(cards), encoding="utf-8")
    print(f"{len(cards)} pages: {options.out / 'index.html'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
