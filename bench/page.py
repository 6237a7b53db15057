"""Size and time of report pages by the number of nodes, and how soon a browser can use them.

    python -m bench page [--nodes 100,2000,20000] [--out docs/benchmarks.md]

The networks are residual blocks of five nodes each, folded before; making the page is timed alone, in processor time.
A large graph is shown as blocks that open on a click: `boxes at first` says how many nodes and blocks are drawn in each
half. The last column is the best of three times that Debian's Chromium, where it is installed, needs until the page
answers to keys.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import onnxnorm
from bench.pages import COUNT, FIGURE, Section, add_out
from bench.tables import Table
from testing.browser import BrowserMissing, Page, start
from testing.residual_blocks import residual_blocks

_NODES_OF_A_BLOCK = 5

SECTIONS = (
    Section(
        "page",
        "docs/benchmarks.md",
        (
            {
                "nodes": COUNT,
                "normalizations": COUNT,
                "making the page": rf"{FIGURE} s",
                "size": rf"{FIGURE} MB",
                "boxes at first": rf"{COUNT}|-",
                "until it can be used": rf"{COUNT} ms|-",
            },
        ),
    ),
)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page | None]:
    """Yield a browser, or None where none is installed."""
    try:
        page = start(folder / "profile", folder)
    except BrowserMissing as missing:
        print(f"no browser: {missing}")
        yield None
        return
    try:
        yield page
    finally:
        page.driver.quit()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench page", description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="100,2000,20000", help="default: 100,2000,20000")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, browser(Path(temporary)) as window:
        table = Table(*SECTIONS[0].tables[0])
        for nodes in map(int, arguments.nodes.split(",")):
            result = onnxnorm.fold(residual_blocks(nodes // _NODES_OF_A_BLOCK), verify=False)
            path = Path(temporary, f"{nodes}.html")
            begin = time.process_time()
            page = result.report_page(path)
            seconds = time.process_time() - begin
            boxes, usable = "-", "-"
            if window is not None:
                usable = f"{min(window.open(path) for _ in range(3)):.0f} ms"
                boxes = str(window.value("document.querySelectorAll('#before .item').length"))
            size = path.stat().st_size / 1e6
            table.add(nodes, len(page.data["norms"]), f"{seconds:.2f} s", f"{size:.2f} MB", boxes, usable)
    if arguments.out is not None:
        SECTIONS[0].write(arguments.out, [table])
