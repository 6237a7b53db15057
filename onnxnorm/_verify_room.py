"""Whether there is room to verify a model, asked before the memory is full."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx_ir as ir

from onnxnorm._errors import OnnxNormError
from onnxnorm._model_io import weight_bytes

__all__ = ["available_memory", "check_room"]

# More than one protobuf message takes.
_LARGEST = 2 * 10**9
# Both models as messages and in onnxruntime, shaken copies of the original, and the original in float64: so many times
# the weights, measured with models of 0.4 GB (8.4 for products, 9.4 for convolutions). Below this size nobody asks.
_TIMES = 10
_LEAST = 10**8


def check_room(model: ir.Model, name: str) -> None:
    """Refuse what verifying would need more memory for than there is, or than its parts can work with.

    Raises:
        OnnxNormError: says how much that would be.
    """
    size = weight_bytes(model)
    if size < _LEAST:
        return
    needed = f"verifying it would take about {_TIMES * size / 1e9:.0f} GB of memory"
    if size > _LARGEST:
        raise OnnxNormError(
            f"{name}: its weights have {size / 1e9:.1f} GB; {needed}, and is possible below {_LARGEST / 1e9:.0f} GB of "
            "weights only, which is what one protobuf message holds"
        )
    available = available_memory()
    if available is not None and _TIMES * size > available:
        raise OnnxNormError(
            f"{name}: its weights have {size / 1e9:.1f} GB; {needed}, and {available / 1e9:.1f} GB are free"
        )


def available_memory() -> int | None:
    """Bytes that are free or can be made so, for the machine, the container and the process; None where unknown."""
    known = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        known.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        known.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            known.append(max(limit - taken, 0))
    return min(known, default=None)
