"""Makes onnxruntime sessions that run the custom operators, with the native library where it is installed.

A model's own functions define the custom operators; with the native library registered, its kernels run in their place.
"""

from __future__ import annotations

import os
import re
import warnings
import weakref
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
import onnxruntime  # type: ignore[import-untyped]

from onnxnorm.errors import OnnxNormError, OnnxNormWarning, naming, say_once
from onnxnorm.files.foreign_formats import foreign_format
from onnxnorm.files.similar_names import similar_name
from onnxnorm.io import load_and_save
from onnxnorm.model.source import CarriesModel, model_of, name_of
from onnxnorm.ops import attach
from onnxnorm.ops.schema import check_nodes
from onnxnorm.runtime.library import find_library
from onnxnorm.runtime.providers import are_for_another_processor, checked_providers
from onnxnorm.validate.arguments import check_count, check_flags, check_session_options, no_model
from onnxnorm.validate.shape_inference import ends_runtimes

__all__ = ["is_missing_kernel", "reason_of", "session"]

Plain: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model"
Model: TypeAlias = "Plain | CarriesModel[onnx.ModelProto] | CarriesModel[ir.Model]"


# onnxruntime refuses a library that is registered twice on the same options, and cannot be asked whether it is.
_registered: weakref.WeakSet[onnxruntime.SessionOptions] = weakref.WeakSet()
# A file and a line of onnxruntime's source with the signature of a function, as its messages have them.
_PLACE = re.compile(r"\S*onnxruntime/core/\S+:\d+ (?:[\w:<>*&,~ ]+\([^)]*\)(?: const)? )?")


def session(
    model: Model,
    *,
    portable: bool | None = None,
    sess_options: onnxruntime.SessionOptions | None = None,
    threads: int | None = None,
    providers: list[Any] | None = None,
    **options: Any,
) -> onnxruntime.InferenceSession:
    """Make an onnxruntime session in which the custom operators run: their kernels where the library is installed.

    Args:
        model: a path, the bytes of a model, a `ModelProto`, an `onnx_ir.Model`, or a result of `optimize`. Missing
            bodies of the custom operators are supplied. Weights in files of their own are found when the model is
            given by its path.
        portable: run the operators' portable bodies even where the library is installed. By default that is so where
            `providers` name another processor that this onnxruntime has: the kernels are for the CPU, and each would
            have copies around it; False asks for the kernels there too.
        sess_options: onnxruntime's options; the library is registered on them, nothing else in them is changed. They
            may serve any number of sessions, though not both settings of `portable`.
        threads: how many threads an operator may use, in place of `sess_options`.
        providers: execution providers, by names or pairs of a name and its options; the processor's alone where none
            are given.
        options: further arguments of `onnxruntime.InferenceSession`.

    Raises:
        OnnxNormError: the model is unreadable, a node is wrong, or onnxruntime refuses it; names the file and node.
            Also where it knows no provider of such a name.

    Warns:
        OnnxNormWarning: `sess_options` ask for the optimized model to be written, in ONNX or in onnxruntime's own
            format, while the kernels are registered: that file lacks the bodies, and runs only where they are too.
    """
    check_session_options("sess_options", sess_options)
    check_flags(portable=portable)
    check_count("threads", threads, least=0)
    chosen = checked_providers(providers)
    if sess_options is not None and threads is not None:
        raise OnnxNormError("give either sess_options or threads; in sess_options it is intra_op_num_threads")
    if sess_options is None:
        sess_options = onnxruntime.SessionOptions()
        sess_options.log_severity_level = 3
        if threads is not None:
            sess_options.intra_op_num_threads = threads
    plain: Plain = model if isinstance(model, bytes) else model_of(model)
    name, proto = _read(plain)
    fault = None if proto is None else ends_runtimes(proto)
    if fault is not None:
        node, wrong = fault
        raise OnnxNormError(f"{name}: node {node.name!r} ({node.op_type}) {wrong}; export the model again")
    custom = proto is not None and attach.uses_ops(proto)
    source = _as_onnxruntime_takes_it(plain, proto if custom else None, name, sess_options)

    if portable is None:
        portable = are_for_another_processor(chosen) and sess_options not in _registered
    if portable and sess_options in _registered:
        raise OnnxNormError("these sess_options have the native library registered: use others with portable=True")
    library = None if portable else find_library()
    if library is not None:
        _register(library, sess_options)
        if custom and sess_options.optimized_model_filepath:
            warnings.warn(_lacks_bodies(sess_options.optimized_model_filepath), OnnxNormWarning, stacklevel=2)
    elif custom and not portable:
        say_once(
            "onnxnorm is installed without its native library: its operators run on their portable bodies, correct "
            "but slower. Install a C++20 compiler (GCC or Clang) and then onnxnorm again; session(..., portable=True) "
            "asks for the portable bodies"
        )
    try:
        return onnxruntime.InferenceSession(source, sess_options, providers=chosen, **options)
    except Exception as error:
        raise OnnxNormError(f"{name}: {reason_of(error)}") from error


def _as_onnxruntime_takes_it(
    model: Plain, custom: onnx.ModelProto | None, name: str, options: onnxruntime.SessionOptions
) -> Any:
    """Return the path or the bytes of the model; one with `custom` operators of this project gets their bodies."""
    if custom is not None:
        return _with_bodies(model, custom, name, options)
    if isinstance(model, (onnx.ModelProto, ir.Model)):
        return load_and_save.to_proto(model).SerializeToString()
    return model if isinstance(model, bytes) else os.fspath(model)


def _lacks_bodies(path: str) -> str:
    return (
        f"{path}: onnxruntime writes it without the bodies of the custom operators, since their kernels are "
        "registered: it runs only where they are registered too; session(..., portable=True) writes a file that runs "
        "everywhere"
    )


def _read(model: Plain) -> tuple[str, onnx.ModelProto | None]:
    """Read the name that messages give the model, and its structure; None for a file in onnxruntime's own format."""
    if isinstance(model, onnx.ModelProto):
        return name_of(model), model
    if isinstance(model, ir.Model):
        return name_of(model), load_and_save.to_proto(model)
    if isinstance(model, bytes):
        name, data = "the model", model
    elif isinstance(model, (str, os.PathLike)):
        name = os.fspath(model)
        try:
            data = Path(model).read_bytes()
        except OSError as error:
            meant = similar_name(Path(model)) if isinstance(error, FileNotFoundError) else ""
            raise OnnxNormError(f"{name}: cannot read the model: {error.strerror or error}{meant}") from error
    else:
        raise no_model(model, or_bytes=True)
    if data[4:8] == b"ORTM":  # the mark of onnxruntime's own flatbuffer format
        return name, None
    try:
        proto = onnx.ModelProto.FromString(data)
    except Exception as error:
        what = foreign_format(Path(model)) if isinstance(model, (str, os.PathLike)) else None
        if what is not None:
            raise OnnxNormError(f"{name}: is no ONNX model but {what}") from error
        raise OnnxNormError(f"{name}: this is no ONNX model, or only a part of one") from error
    if not proto.ListFields():
        raise OnnxNormError(f"{name}: this is no ONNX model, it is empty; fetch or export it again")
    if not proto.HasField("graph"):
        raise OnnxNormError(f"{name}: this is no ONNX model (it has no graph)")
    return name, proto


def _with_bodies(model: Plain, proto: onnx.ModelProto, name: str, options: onnxruntime.SessionOptions) -> bytes | str:
    """Return the model for onnxruntime, its nodes checked and their bodies supplied."""
    with naming(name):
        check_nodes(proto)
        complete = onnx.ModelProto()
        complete.CopyFrom(proto)
        attach.attach_bodies(complete)
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
            f"{library}: onnxruntime cannot load the native library ({reason_of(error)}); install onnxnorm again, or "
            "use session(..., portable=True)"
        ) from error
    _registered.add(options)


def is_missing_kernel(message: str) -> bool:
    """Tell by a message of onnxruntime whether it knows the operator, and has no kernel for the types of a node."""
    return "NOT_IMPLEMENTED" in message or "Could not find an implementation" in message


def reason_of(error: Exception) -> str:
    """Return the message of an error of onnxruntime without its codes and the places in its source."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)
    text = _PLACE.sub("", text)
    text = text.removeprefix("Exception during initialization: ")
    text = re.sub(r"^Load model from .* failed: ?", "", text)
    if "Domain already set in registry" in text:
        return "the native library is registered on these sess_options already: leave that to onnxnorm.session"
    opset = re.search(r"Opset (\d+) is under development.* till opset (\d+)", text)
    if opset is not None:
        return (
            f"the model is written in opset {opset[1]}, and onnxruntime {onnxruntime.__version__} knows opsets up to "
            f"{opset[2]}: export the model in one of these, or install a newer onnxruntime"
        )
    unknown = re.search(r"(\S*):(\w+)\(-?\d+\) is not a registered function/op", text)
    if unknown is not None:
        domain = unknown[1].removeprefix("error:").strip()
        operator = f"{domain}::{unknown[2]}" if domain else unknown[2]
        return (
            f"onnxruntime {onnxruntime.__version__} has no operator {operator}, and the model carries no body for it: "
            "register the library that has it, by --custom-ops-library FILE or in sess_options"
        )
    return text
