"""The machine that a bench runs on, in words: processor, cores, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CAPTION", "caption"]

CAPTION = re.compile(r"Measured on .+ \(.+, \d+ cores?\), with Python \d[\w.]*(, [\w-]+ \d[\w.+]*)*\.")
"""What `caption` writes, as one line."""


def caption(packages: Iterable[str]) -> str:
    """Return the sentence that stands above a table: the machine, and the versions of the packages that are here."""
    details = ", ".join([*_instructions(), platform.system(), _cores()])
    versions = ", ".join([f"Python {platform.python_version()}", *_versions(packages)])
    return f"Measured on {_processor()} ({details}), with {versions}."


def _cores() -> str:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{count} core{'s' * (count > 1)}"


def _versions(packages: Iterable[str]) -> list[str]:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _processor() -> str:
    """Name the processor; virtual machines give short names, which family and model tell apart."""
    known = _cpuinfo()
    name = known.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{key.replace('cpu ', '')} {known[key]}" for key in ("cpu family", "model") if key in known]
    return ", ".join([f"an {name}" if name[:1] in "AEIO" else f"a {name}", *numbers])


def _instructions() -> list[str]:
    flags = _cpuinfo().get("flags", "").split()
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else ""
    return [widest] if widest else []
