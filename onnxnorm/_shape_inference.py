"""ONNX's shape inference, which must not take the whole process with it.

Its Slice is checked by assertions that end the process where an extent is negative: a window larger than its input
makes one, and exporters write -1 for what they do not know. GatherND looks for axes that do not exist wherever in
memory these would be, EyeLike and RegexFullMatch for a type that is not known (onnx 1.23.2; random nodes of every
operator were tried). Expand and their like get as many dimensions as a vector has elements, be they 2^60, and where it
follows the values of shapes, each vector that is added to another is written out number by number. No look at the model
beforehand tells for sure, since the extents are what is to be found. So a model that may do so is given to a child of
this process, with limits, where the system has such.
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

from onnxnorm._attributes import fatal
from onnxnorm._proto import graphs_in, without_weights

__all__ = ["ends_runtimes", "infer_shapes"]

_BROKEN = b"ONNX's own shape inference breaks off at it"
_RISKY = (b"EyeLike", b"GatherND", b"RegexFullMatch", b"Slice")
_FORKS = sys.platform == "linux"
# A hundred thousand nodes take a few seconds; a model takes about 30 times the bytes that it has without its weights.
_SECONDS, _MEMORY, _MEMORY_PER_BYTE = 60, 2**29, 100
_SECONDS_IF_SUSPICIOUS, _MEMORY_IF_SUSPICIOUS = 10, 2**29


def infer_shapes(
    model: onnx.ModelProto, *, suspicious: bool = False, data_prop: bool = False, **options: bool
) -> onnx.ModelProto:
    """As `onnx.shape_inference.infer_shapes`. `suspicious`: inference may take more than there is.

    Raises:
        onnx.shape_inference.InferenceError: ONNX finds a mistake, or breaks off.
    """
    data = model.SerializeToString()
    options["data_prop"] = data_prop
    if not (suspicious or data_prop or any(op_type in data for op_type in _RISKY)) or not _FORKS:
        return onnx.shape_inference.infer_shapes(data, **options)
    inferred, failed = _in_child(data, options, suspicious=suspicious)
    if failed:
        raise onnx.shape_inference.InferenceError(inferred.decode(errors="replace"))
    result: onnx.ModelProto = onnx.ModelProto.FromString(inferred)
    return result


def ends_runtimes(model: onnx.ModelProto) -> tuple[onnx.NodeProto, str] | None:
    """A node at which runtimes end the process, since they have ONNX's shape inference in them, and what is wrong."""
    nodes = [node for graph in graphs_in(model) for node in graph.node if node.domain in ("", "ai.onnx")]
    for node in nodes:
        if (wrong := fatal(node)) is not None:
            return node, wrong
    suspects = [node for node in nodes if node.op_type == "GatherND"]
    if suspects and _FORKS:
        slim = without_weights(model)
        del slim.graph.output[:]
        for dim in (dim for value in slim.graph.input for dim in value.type.tensor_type.shape.dim):
            # These end the process in ONNX alone.
            if dim.dim_value < 0:
                dim.Clear()
        inferred, failed = _in_child(slim.SerializeToString(), {}, suspicious=False)
        if failed and inferred == _BROKEN:
            return suspects[0], "has other inputs than it can have"
    return None


def _in_child(data: bytes, options: dict[str, Any], *, suspicious: bool) -> tuple[bytes, bool]:
    """The inferred model, or a message and that it failed."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Of other threads; the child does nothing but what follows, and waits for none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        if suspicious:
            _infer(data, options, write, _SECONDS_IF_SUSPICIOUS, _MEMORY_IF_SUSPICIOUS)
        _infer(data, options, write, _SECONDS, _MEMORY + _MEMORY_PER_BYTE * len(data))
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
        return _BROKEN, True
    return answer, status != 0


def _infer(data: bytes, options: dict[str, Any], write: int, seconds: int, memory: int) -> NoReturn:
    code = 1
    try:
        # What an assertion says is no message to the user, and where the process stood no news, to whomever it is told.
        faulthandler.disable()
        for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
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
