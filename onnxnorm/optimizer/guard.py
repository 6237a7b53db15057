"""Runs a pass and makes of its failure an error that names the file and, where the model is at fault, the node.

A model can be wrong in more ways than the checks at the door know: an attribute of the wrong type, an operator with too
few inputs. A pass that meets one raises whatever Python raises. ONNX's own checker is asked then what is wrong, and of
each node whether its operands fit together.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, first_line
from onnxnorm.graph.contradictions import contradiction_in
from onnxnorm.graph.invariants import violations
from onnxnorm.model.to_protobuf import Place, structure
from onnxnorm.model.walk import bytes_of, tensors_of
from onnxnorm.validate.shape_inference import infer_shapes

__all__ = ["InvariantError", "PassFailedError", "is_debugging", "leaving_out_failed_passes", "run_pass"]

_T = TypeVar("_T")

_LARGEST_CHECKED = 1000
_DEBUG = "ONNXNORM_DEBUG"


class PassFailedError(OnnxNormError):
    """Raised where a pass broke off at a model that ONNX finds nothing wrong with.

    Attributes:
        pass_name: the pass.
        found: the Python error it broke off with, in one line.
    """

    def __init__(self, message: str, pass_name: str, found: str) -> None:
        super().__init__(message)
        self.pass_name = pass_name
        self.found = found


class InvariantError(OnnxNormError):
    """Raised where a pass left a model for which something does not hold that holds of every model."""


def is_debugging() -> bool:
    """Whether the environment variable ONNXNORM_DEBUG asks for the checks that only developers need."""
    return os.environ.get(_DEBUG, "") not in ("", "0")


def leaving_out_failed_passes(run: Callable[[Sequence[str]], _T], names: Sequence[str]) -> tuple[_T, tuple[str, ...]]:
    """Run passes, and once more without each that breaks off, so that a mistake in one does not cost the rest.

    Args:
        run: runs the passes of these names, on a model that is as it was each time.
        names: the passes.

    Returns:
        What `run` returns, and a sentence for each pass that was left out.

    Raises:
        PassFailedError: the only pass broke off, or any while debugging.
    """
    notes: list[str] = []
    while True:
        try:
            return run(names), tuple(notes)
        except PassFailedError as failure:
            if is_debugging() or len(names) == 1:
                raise
            names = tuple(name for name in names if name != failure.pass_name)
            notes.append(
                f"the pass {failure.pass_name!r} failed ({failure.found}) and was left out; please report it together "
                "with the model"
            )


def run_pass(
    transformation: ir.passes.PassBase,
    pass_name: str,
    model: ir.Model,
    name: str,
    known: frozenset[str] | None = None,
) -> frozenset[str] | None:
    """Run the pass on the model.

    Args:
        transformation, pass_name: the pass.
        model, name: the model, and what errors call it.
        known: what this returned for the pass before, where nothing else has changed the model since.

    Returns:
        What is not well-formed of the model; None unless debugging.

    Raises:
        PassFailedError: the pass broke off at a model that is well-formed.
        InvariantError: the pass left a model that is not well-formed; looked for while debugging alone.
        OnnxNormError: the model breaks the rules of ONNX where the pass relies on them.
    """
    if not is_debugging():
        _run(transformation, pass_name, model, name)
        return None
    before = frozenset(violations(model)) if known is None else known
    _run(transformation, pass_name, model, name)
    after = list(violations(model))
    new = [each for each in after if each not in before]
    if new:
        raise InvariantError(f"{name}: the pass {pass_name!r} left a broken model: {'; '.join(new[:5])}")
    return frozenset(after)


def _run(transformation: ir.passes.PassBase, pass_name: str, model: ir.Model, name: str) -> None:
    try:
        transformation(model)
    except OnnxNormError:
        raise
    except MemoryError:
        raise OnnxNormError(f"{name}: not enough memory for the pass {pass_name!r}") from None
    except Exception as error:
        cause = error.__cause__ if isinstance(error, ir.passes.PassError) and error.__cause__ else error
        if isinstance(cause, OnnxNormError):
            raise cause from None
        fault = _fault_of(model)
        if fault is not None:
            what, advice = fault
            raise OnnxNormError(f"{name}: the model is malformed ({what}); {advice}") from error
        found = f"{type(cause).__name__}: {first_line(cause)}"
        raise PassFailedError(
            f"{name}: the pass {pass_name!r} failed ({found}), although ONNX finds nothing wrong with the model; leave "
            "that pass out, and please report it together with the model",
            pass_name,
            found,
        ) from error


def _fault_of(model: ir.Model) -> tuple[str, str] | None:
    """Return what ONNX finds wrong with the model, and what to do about it; None where it finds nothing."""
    try:
        proto = _without_weights(model)
        onnx.checker.check_model(proto)
        infer_shapes(proto, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        return " ".join(str(fault).split())[:300], "export it again"
    except Exception as fault:
        return first_line(fault), "check it with onnx.checker"
    contradiction = None
    with contextlib.suppress(Exception):
        contradiction = contradiction_in(model)
    return None if contradiction is None else (contradiction, "export it again")


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    large = {
        id(holder.tensor): Place("weights", 0, 0)
        for holder in tensors_of(model)
        if bytes_of(holder.tensor) > _LARGEST_CHECKED
    }
    proto = structure(model, large)
    # The checker looks for data files in the current folder; where the weights are is no question here.
    inputs = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL and tensor.name not in inputs:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    kept = [
        tensor.SerializeToString()
        for tensor in proto.graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL
    ]
    del proto.graph.initializer[:]
    for tensor in kept:
        proto.graph.initializer.add().ParseFromString(tensor)
    return proto
