"""ONNX's shape inference, which must not take the whole process with it.

Its Slice is checked by assertions that end the process where an extent is negative: a window larger than its input
makes one, and exporters write -1 for what they do not know. Expand and their like get as many dimensions as a vector
has elements, be they 2^60. No look at the model beforehand tells for sure, since the extents are what is to be found.
So a model that may do so is given to a child of this process, with limits, where the system has such.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

import onnx

__all__ = ["infer_shapes"]

_FORKS = sys.platform == "linux"
# A hundred thousand nodes take a few seconds and less than a gigabyte.
_SECONDS, _MEMORY = 60, 4 * 2**30
_SECONDS_IF_SUSPICIOUS, _MEMORY_IF_SUSPICIOUS = 10, 2**29


def infer_shapes(model: onnx.ModelProto, *, suspicious: bool = False, **options: bool) -> onnx.ModelProto:
    """As `onnx.shape_inference.infer_shapes`. `suspicious`: inference may take more than there is.

    Raises:
        onnx.shape_inference.InferenceError: ONNX finds a mistake, or breaks off.
    """
    data = model.SerializeToString()
    if not (suspicious or b"Slice" in data) or not _FORKS:
        return onnx.shape_inference.infer_shapes(data, **options)
    inferred, failed = _in_child(data, options, suspicious=suspicious)
    if failed:
        raise onnx.shape_inference.InferenceError(inferred.decode(errors="replace"))
    result: onnx.ModelProto = onnx.ModelProto.FromString(inferred)
    return result


def _in_child(data: bytes, options: dict[str, Any], *, suspicious: bool) -> tuple[bytes, bool]:
    """The inferred model, or a message and that it failed."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Of other threads; the child does nothing but what follows, and waits for none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        limits = (_SECONDS_IF_SUSPICIOUS, _MEMORY_IF_SUSPICIOUS) if suspicious else (_SECONDS, _MEMORY)
        _infer(data, options, write, *limits)
    os.close(write)
    status = None
    try:
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
    finally:
        if status is None:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        return b"ONNX's own shape inference breaks off at it", True
    return answer, status != 0


def _infer(data: bytes, options: dict[str, Any], write: int, seconds: int, memory: int) -> NoReturn:
    code = 1
    try:
        # What an assertion says is no message to the user, and where the process stood no news.
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _limit(seconds, memory)
        try:
            answer = onnx.shape_inference.infer_shapes(data, **options).SerializeToString()
            code = 0
        except Exception as error:
            answer = str(error).encode()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(answer)
    except BaseException:
        code = 2
    finally:
        os._exit(code)


def _limit(seconds: int, memory: int) -> None:
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used = int(time.process_time())
    limits = {resource.RLIMIT_AS: taken + memory, resource.RLIMIT_CPU: used + seconds, resource.RLIMIT_CORE: 0}
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
