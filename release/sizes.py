#!/usr/bin/env python3
"""Says what the bytes of a wheel are: tables in Markdown.

    python release/sizes.py FILE.whl [--objects build/py3-none-linux_x86_64]

With the folder that the library was built in, a second table has the parts of the library (needs binutils' `size`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.tables import head, row  # noqa: E402
from release.check import LIBRARY  # noqa: E402

__all__ = ["parts_of_library", "parts_of_wheel"]

_SETS = ("avx512", "avx2", "baseline", "neon")


def _part(name: str) -> str:
    if LIBRARY.fullmatch(name):
        return "kernels"
    if ".dist-info/" in name:
        return "metadata"
    return "Python" if name.endswith(".py") else "other files of the package"


def parts_of_wheel(wheel: Path) -> list[tuple[str, int, int, int]]:
    """Return the parts, the largest first, each with its files, its bytes and those that it takes in the wheel."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            part = found[_part(member.filename)]
            part[0], part[1], part[2] = part[0] + 1, part[1] + member.file_size, part[2] + member.compress_size
    rest = wheel.stat().st_size - sum(packed for _, _, packed in found.values())
    parts = [(name, *numbers) for name, numbers in found.items()] + [("names and dates of all files", 0, rest, rest)]
    return sorted(parts, key=lambda part: -part[3])  # type: ignore[return-value]


def parts_of_library(sizes: Iterable[tuple[str, int]], whole: int) -> list[tuple[str, int]]:
    """Return the parts of a library, the largest first, from the names and sizes of its objects and its own size."""
    found: dict[str, int] = defaultdict(int)
    for name, size in sizes:
        stem = PurePosixPath(name).name.partition(".")[0]
        kind = next((each for each in _SETS if stem.startswith(each)), "")
        family = "norms" if stem.endswith("_norm") else "LRN"
        found[f"kernels of {family}, {kind}" if kind else "operators, shapes and choice of kernels"] += size
    found["parts of the C++ library, less what no one calls"] = whole - sum(found.values())
    return sorted(found.items(), key=lambda part: -part[1])


def _sizes(files: Iterable[Path]) -> list[tuple[str, int]]:
    listed = subprocess.run(["size", *map(str, files)], capture_output=True, text=True, check=True).stdout
    return [(line.split()[5], int(line.split()[3])) for line in listed.splitlines()[1:]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--objects", type=Path, help="the folder that the library was built in")
    arguments = parser.parse_args()
    print(head(("part of the wheel", "files", "bytes", "packed")))
    for name, files, size, packed in parts_of_wheel(arguments.wheel):
        print(row((name, files or "", f"{size:,}", f"{packed:,}")))
    if arguments.objects is not None:
        (library,) = arguments.objects.glob("libonnxnorm_custom_ops.*")
        objects = sorted(arguments.objects.rglob("*.o"))
        print("", head(("part of the library", "bytes")), sep="\n")
        for name, size in parts_of_library(_sizes(objects), _sizes([library])[0][1]):
            print(row((name, f"{size:,}")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
