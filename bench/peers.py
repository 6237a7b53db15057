"""Nodes and bytes that `optimize` and each portable peer leave of files, for example of models in packages.

    python -m bench peers FOLDER ... [--seconds 120] [--cache DIR] [--out docs/runtime-graphs.md]

Peers: the extra `bench` of pyproject.toml installs them. Nodes are those of all graphs of the file, constants aside.
`more` tells by how many nodes ours exceeds the best of those peers whose file is within the budget for growth that ours
has too (5 %, or 16 KB), `-` that it exceeds none. Each tool runs in a process of its own, peers for so many seconds at
most; `failed` means that it broke off, or took longer. What peers leave is kept in `--cache`, and they are not asked
again in the same versions.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from bench.nodes import nodes_by_kind
from bench.pages import COUNT, TEXT, Section, add_out
from bench.tables import Table

BUDGET = 1.05
# What a file may always grow by (`onnxnorm/graph/size_budget.py`).
UNNOTICED = 2**14
OURS = "onnxnorm"
PEERS = ("onnxsim", "onnxslim", "onnxoptimizer", "onnxscript")
_SIZE = rf"{COUNT} \({COUNT} KB\)|failed"
SECTIONS = (
    Section(
        "peers",
        "docs/runtime-graphs.md",
        ({"file": TEXT, "original": _SIZE} | dict.fromkeys((OURS, *PEERS), _SIZE) | {"more": rf"{COUNT}|-"},),
        ("onnx", *PEERS),
    ),
)
_CHILD = """
import sys, onnx
from bench.fold import TOOLS
onnx.save(TOOLS[sys.argv[1]](onnx.load(sys.argv[2])), sys.argv[3])
"""


@dataclass(frozen=True)
class Left:
    """What a tool leaves of a file."""

    nodes: int
    size: int

    @classmethod
    def of(cls, path: Path) -> Left:
        graph = onnx.load(path, load_external_data=False).graph
        return cls(nodes_by_kind(graph).total(), path.stat().st_size)

    def __str__(self) -> str:
        return f"{self.nodes} ({self.size // 1000} KB)"


def files(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield each file once, however often it lies there, with the name of its package and its own."""
    seen = set()
    for root in paths:
        for path in sorted(root.rglob("*.onnx")) if root.is_dir() else [root]:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest not in seen:
                seen.add(digest)
                package = root if root.is_dir() else root.parent
                yield f"{package.name.partition('-')[0]}/{path.name}", path


def left_by(tool: str, path: Path, seconds: float | None) -> Left | None:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.onnx")
        command = [sys.executable, "-c", _CHILD, tool, str(path), str(result)]
        try:
            subprocess.run(command, capture_output=True, timeout=seconds, check=True)
        except subprocess.SubprocessError:
            return None
        return Left.of(result)


class _Known:
    """What peers leave, kept in a folder by the bytes of the file and the versions of the peer and of onnx."""

    def __init__(self, folder: Path, seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._seconds = folder, seconds

    def left_by(self, tool: str, path: Path) -> Left | None:
        if tool == OURS:
            # A machine that does other work is no reason to tell of a failure.
            return left_by(tool, path, None)
        versions = [importlib.metadata.version(each) for each in (tool, "onnx")]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = self._folder / "-".join([tool, *versions, f"{self._seconds:g}", digest])
        if not known.exists():
            found = left_by(tool, path, self._seconds)
            known.write_text(json.dumps(None if found is None else [found.nodes, found.size]), encoding="utf-8")
        kept = json.loads(known.read_text(encoding="utf-8"))
        return None if kept is None else Left(*kept)


def more(original: Left, left: Mapping[str, Left | None]) -> int | None:
    """Return by how many nodes ours exceeds the best peer within the budget; None where it exceeds none."""
    limit = max(BUDGET * original.size, original.size + UNNOTICED)
    ours = left[OURS]
    best = min((each.nodes for tool, each in left.items() if tool != OURS and each is not None and each.size <= limit),
               default=original.nodes)  # fmt: skip
    nodes = original.nodes if ours is None else ours.nodes
    return nodes - best if nodes > best else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="files, or folders of them")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each peer and file")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-peers"), help="what is kept between runs")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    known = _Known(arguments.cache, arguments.seconds)
    table = Table(*SECTIONS[0].tables[0])
    exceeded = 0
    for name, path in files(arguments.paths):
        original = Left.of(path)
        left = {tool: known.left_by(tool, path) for tool in (OURS, *PEERS)}
        by = more(original, left)
        exceeded += by is not None
        table.add(name, original, *("failed" if each is None else each for each in left.values()), by or "-")
    if arguments.out is not None:
        SECTIONS[0].write(arguments.out, [table])
    return int(bool(exceeded))
