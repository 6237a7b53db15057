"""What the installation consists of, whether its parts work together, and what a missing part costs."""

from __future__ import annotations

import enum
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

__all__ = ["Check", "Status", "diagnose", "own_version"]


class Status(str, enum.Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Works without, at a cost that the detail names."""
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what, how it is, and the version, path or reason."""

    name: str
    status: Status
    detail: str


# Each library with what its absence costs; None where nothing works without it.
_LIBRARIES: dict[str, str | None] = {
    "numpy": None,
    "ml_dtypes": None,
    "onnx": None,
    "onnx-ir": None,
    "onnxscript": None,
    "onnxruntime": None,
    "rich": None,
    "torch": 'not installed: onnxnorm.layers and export need it (pip install "onnxnorm[torch]"); all else works',
}


def own_version() -> str:
    """The installed version of onnxnorm, or "unknown (not installed)" where it runs from a source tree."""
    try:
        return metadata.version("onnxnorm")
    except metadata.PackageNotFoundError:
        return "unknown (not installed, run from its source tree)"


def diagnose() -> tuple[Check, ...]:
    """Looks at every part, loads the native library into onnxruntime and runs each custom op with it and without."""
    checks = [
        Check("onnxnorm", Status.OK, own_version()),
        Check("python", Status.OK, f"{platform.python_version()} ({sys.executable})"),
        Check("platform", Status.OK, f"{platform.system()} {platform.machine()}"),
    ]
    checks += [_check_library(name, cost) for name, cost in _LIBRARIES.items()]
    return tuple(checks)


def _check_library(name: str, cost: str | None) -> Check:
    try:
        return Check(name, Status.OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        if cost is None:
            return Check(name, Status.FAILED, f"not installed: pip install {name}")
        return Check(name, Status.NOTE, cost)
