#!/usr/bin/env python3
"""Checks before a release: the version, the list of changes, the constraint files, and the wheels.

python release/check.py version v0.1.0      the tag, pyproject.toml and CHANGELOG.md name the same version
python release/check.py wheel FILE ...      size, tags, contents and symbols of wheels, and what they need
python release/check.py clean WHEEL [--constraint release/oldest.txt]
                                            installs the wheel into a new environment and runs release/smoke.py
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

__all__ = ["faults_of_sdist", "faults_of_version", "faults_of_wheel"]

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 1_500_000
LIBRARY = re.compile(r"onnxnorm/(lib)?onnxnorm_custom_ops\.(so|dylib|dll)")


def own_version() -> str:
    """Return the version of pyproject.toml, the one place that has it."""
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match[1]


def faults_of_version(tag: str, version: str, changes: str) -> list[str]:
    """Return what keeps the version from being released under the tag."""
    faults = []
    if tag != f"v{version}":
        faults.append(f"the tag is {tag}, pyproject.toml has version {version}")
    section = re.search(rf"^## {re.escape(version)}\b.*\n((?:(?!## ).*\n?)*)", changes, re.MULTILINE)
    if section is None:
        faults.append(f"CHANGELOG.md has no section {version}")
    elif not section[1].strip():
        faults.append(f"the section {version} of CHANGELOG.md is empty")
    unreleased = re.search(r"^## Unreleased\b.*\n((?:(?!## ).*\n?)*)", changes, re.MULTILINE)
    if unreleased is not None and unreleased[1].strip():
        faults.append("CHANGELOG.md has changes under Unreleased")
    return faults


def faults_of_wheel(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel."""
    faults = []
    if wheel.stat().st_size > LARGEST:
        faults.append(f"it has {wheel.stat().st_size:,} bytes, more than {LARGEST:,}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        libraries = [name for name in names if LIBRARY.fullmatch(name)]
        strange = [name for name in names if not re.match(r"onnxnorm(-[^/]+\.dist-info)?/", name)]
        if strange:
            faults.append(f"it holds {strange[0]}")
        python, abi, platform = wheel.stem.split("-")[-3:]
        if (python, abi) != ("py3", "none"):
            faults.append(f"its tag is {python}-{abi}, not py3-none")
        if platform.startswith("linux_"):
            faults.append(f"its platform is {platform}, which no index takes: release/build.py gives it another tag")
        if (platform == "any") == bool(libraries):
            faults.append(f"its platform is {platform}, and it holds {libraries or 'no library'}")
        with tempfile.TemporaryDirectory() as folder:
            for name in libraries:
                if not name.endswith(".dll") and shutil.which("nm") is not None:
                    faults += _faults_of_library(Path(archive.extract(name, folder)))
    return faults


def faults_of_sdist(sdist: Path) -> list[str]:
    """Return what is wrong with a source distribution."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    faults = [f"it lacks {name}" for name in ("CHANGELOG.md", "LICENSE", "pyproject.toml") if name not in names]
    for folder in ("onnxnorm/", "custom_ops/src/"):
        if not any(name.startswith(folder) for name in names):
            faults.append(f"it lacks {folder}")
    return faults + [
        f"it holds {name}" for name in names if re.match(r"(bench|custom_ops/tests|docs|models|tests)/", name)
    ]


def _faults_of_library(library: Path) -> list[str]:
    # A Mac's libraries have no table of dynamic symbols beside the other one, and names begin with an underscore.
    is_elf = library.suffix == ".so"
    command = ["nm", "--dynamic" if is_elf else "--extern-only", "--defined-only", "--format=posix", str(library)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[0].partition("@")[0].removeprefix("" if is_elf else "_") for line in listed.splitlines()}
    return [] if symbols == {"RegisterCustomOps"} else [f"its library exports {', '.join(sorted(symbols)[:5])} ..."]


def clean(wheel: Path, constraint: Path | None) -> None:
    """Install a wheel into a new environment and try it from a folder without the source."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "venv")
        venv.create(home, with_pip=False)
        python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(wheel.resolve())]
        subprocess.run([*pip, *(["--constraint", str(constraint)] if constraint else [])], check=True)
        smoke = shutil.copy(ROOT / "release" / "smoke.py", folder)
        with zipfile.ZipFile(wheel) as archive:
            has_library = any(LIBRARY.fullmatch(name) for name in archive.namelist())
        option = [] if has_library else ["--without-library"]
        subprocess.run([str(python), "-I", str(smoke), *option], cwd=folder, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("version").add_argument("tag")
    commands.add_parser("wheel").add_argument("wheels", nargs="+", type=Path)
    cleanly = commands.add_parser("clean")
    cleanly.add_argument("wheel", type=Path)
    cleanly.add_argument("--constraint", type=Path)
    arguments = parser.parse_args()
    faults = []
    if arguments.command == "version":
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        faults = faults_of_version(arguments.tag, own_version(), changes)
    elif arguments.command == "wheel":
        faults = [f"{wheel.name}: {fault}" for wheel in arguments.wheels for fault in faults_of_wheel(wheel)]
    else:
        clean(arguments.wheel, arguments.constraint)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
