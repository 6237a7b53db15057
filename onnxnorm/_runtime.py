"""Finds the native library, and makes onnxruntime sessions that run the custom operators.

A model's own functions define the custom operators; with the native library registered, its kernels run in their place.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
import onnxruntime  # type: ignore[import-untyped]

import onnxnorm
from onnxnorm import _model_io, _ops
from onnxnorm._errors import OnnxNormError
from onnxnorm._notices import say_once
from onnxnorm._shape_inference import ends_runtimes

__all__ = ["custom_ops_library_path", "find_library", "session"]

Model: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model"

_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
_FILE = f"libonnxnorm_custom_ops{_SUFFIX}"

# onnxruntime refuses a library that is registered twice on the same options, and cannot be asked whether it is.
_registered: weakref.WeakSet[onnxruntime.SessionOptions] = weakref.WeakSet()


def find_library() -> Path | None:
    """The native library: the file that ONNXNORM_LIBRARY names, else the one installed with the package, or None.

    Raises:
        OnnxNormError: ONNXNORM_LIBRARY names a file that is not there.
    """
    named = os.environ.get("ONNXNORM_LIBRARY")
    if named:
        if not Path(named).is_file():
            raise OnnxNormError(f"ONNXNORM_LIBRARY is {named!r}, and there is no such file")
        return Path(named).resolve()
    return next((path.resolve() for folder in _folders() if (path := folder / _FILE).is_file()), None)


def _folders() -> Iterator[Path]:
    """The package's folder; then, for a package imported from its source tree, the folder it is installed in."""
    yield from map(Path, onnxnorm.__path__)
    try:
        distribution = importlib.metadata.distribution("onnxnorm")
    except importlib.metadata.PackageNotFoundError:
        return
    yield Path(str(distribution.locate_file("onnxnorm")))


def custom_ops_library_path() -> str:
    """The native library's path, for `register_custom_ops_library` of any onnxruntime binding.

    Raises:
        OnnxNormError: the package was installed without its native library.
    """
    library = find_library()
    if library is None:
        raise OnnxNormError(
            "onnxnorm is installed without its native library, because there was no C++20 compiler (GCC or Clang) when "
            "it was installed; install one and then onnxnorm again"
        )
    return str(library)


def session(
    model: Model,
    *,
    portable: bool = False,
    sess_options: onnxruntime.SessionOptions | None = None,
    threads: int | None = None,
    providers: list[Any] | None = None,
    **options: Any,
) -> onnxruntime.InferenceSession:
    """An onnxruntime session in which the custom operators run: their kernels where the library is installed.

    Args:
        model: a path, the bytes of a model, a `ModelProto` or an `onnx_ir.Model`. Missing bodies of the custom
            operators are supplied. Weights in files of their own are found when the model is given by its path.
        portable: run the operators' portable bodies even where the library is installed.
        sess_options: onnxruntime's options; the library is registered on them, nothing else in them is changed. They
            may serve any number of sessions, though not both settings of `portable`.
        threads: how many threads an operator may use, in place of `sess_options`.
        providers: execution providers; the processor's alone where none are given.
        options: further arguments of `onnxruntime.InferenceSession`.

    Raises:
        OnnxNormError: the model is unreadable, a node is wrong, or onnxruntime refuses it; names the file and node.
    """
    if sess_options is not None and threads is not None:
        raise OnnxNormError("give either sess_options or threads; in sess_options it is intra_op_num_threads")
    if sess_options is None:
        sess_options = onnxruntime.SessionOptions()
        sess_options.log_severity_level = 3
        if threads is not None:
            sess_options.intra_op_num_threads = threads
    name, proto = _read(model)
    fault = None if proto is None else ends_runtimes(proto)
    if fault is not None:
        node, wrong = fault
        raise OnnxNormError(f"{name}: node {node.name!r} ({node.op_type}) {wrong}; export the model again")
    custom = proto is not None and _ops.uses_ops(proto)
    source: Any = model
    if proto is not None and custom:
        source = _with_bodies(model, proto, name, sess_options)
    elif isinstance(model, (onnx.ModelProto, ir.Model)):
        source = _model_io.to_proto(model).SerializeToString()
    elif not isinstance(model, bytes):
        source = os.fspath(model)

    if portable and sess_options in _registered:
        raise OnnxNormError("these sess_options have the native library registered: use others with portable=True")
    library = None if portable else find_library()
    if library is not None:
        _register(library, sess_options)
    elif custom and not portable:
        say_once(
            "onnxnorm is installed without its native library: the LRN operators run on their portable bodies, correct "
            "but slower. Install a C++20 compiler (GCC or Clang) and then onnxnorm again; session(..., portable=True) "
            "asks for the portable bodies"
        )
    try:
        return onnxruntime.InferenceSession(
            source, sess_options, providers=providers or ["CPUExecutionProvider"], **options
        )
    except Exception as error:
        raise OnnxNormError(f"{name}: {_reason(error)}") from error


def _read(model: Model) -> tuple[str, onnx.ModelProto | None]:
    """What messages call the model, and its structure; None for a file in onnxruntime's own format."""
    if isinstance(model, onnx.ModelProto):
        return _model_io.name_of(model), model
    if isinstance(model, ir.Model):
        return _model_io.name_of(model), _model_io.to_proto(model)
    if isinstance(model, bytes):
        name, data = "the model", model
    elif isinstance(model, (str, os.PathLike)):
        name = os.fspath(model)
        try:
            data = Path(model).read_bytes()
        except OSError as error:
            raise OnnxNormError(f"{name}: cannot read the model: {error.strerror or error}") from error
    else:
        raise OnnxNormError(
            f"a model is a path, bytes, an onnx.ModelProto or an onnx_ir.Model, not a {type(model).__name__}"
        )
    if data[4:8] == b"ORTM":  # the mark of onnxruntime's own flatbuffer format
        return name, None
    try:
        proto = onnx.ModelProto.FromString(data)
    except Exception as error:
        raise OnnxNormError(f"{name}: this is no ONNX model, or only a part of one") from error
    if not proto.HasField("graph"):
        raise OnnxNormError(f"{name}: this is no ONNX model (it has no graph)")
    return name, proto


def _with_bodies(model: Model, proto: onnx.ModelProto, name: str, options: onnxruntime.SessionOptions) -> bytes | str:
    """The model for onnxruntime, its nodes checked and their bodies supplied."""
    try:
        _ops.check_nodes(proto)
        complete = onnx.ModelProto()
        complete.CopyFrom(proto)
        _ops.attach_bodies(complete)
    except OnnxNormError as error:
        text = str(error)
        raise OnnxNormError(text if text.startswith(name) else f"{name}: {text}") from error
    if isinstance(model, (str, os.PathLike)):
        if complete == proto:
            return os.fspath(model)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in complete.graph.initializer):
            folder = str(Path(model).resolve().parent)
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    data: bytes = complete.SerializeToString()
    return data


def _register(library: Path, options: onnxruntime.SessionOptions) -> None:
    if options in _registered:
        return
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:
        raise OnnxNormError(
            f"{library}: onnxruntime cannot load the native library ({_reason(error)}); install onnxnorm again, or use "
            "session(..., portable=True)"
        ) from error
    _registered.add(options)


def _reason(error: Exception) -> str:
    """onnxruntime's message without its codes."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)
    text = text.removeprefix("Exception during initialization: ")
    if "Domain already set in registry" in text:
        return "the native library is registered on these sess_options already: leave that to onnxnorm.session"
    return text
