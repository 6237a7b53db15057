"""Runs a pass; what it trips over becomes an error that names the file and, where it is the model's fault, the node.

A model can be wrong in more ways than the checks at the door know: an attribute of the wrong type, an operator with too
few inputs. A pass that meets one raises whatever Python raises. ONNX's own checker is asked then what is wrong, and of
each node whether its operands fit together.
"""

from __future__ import annotations

import contextlib

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, first_line
from onnxnorm.graph.contradictions import contradiction_in
from onnxnorm.graph.onnx_shape_inference import infer_shapes
from onnxnorm.model.to_protobuf import Place, structure
from onnxnorm.model.walk import bytes_of, tensors_of

__all__ = ["run_pass"]

_LARGEST_CHECKED = 1000


def run_pass(transformation: ir.passes.PassBase, pass_name: str, model: ir.Model, name: str) -> None:
    """Run the pass on the model.

    Raises:
        OnnxNormError: the model breaks the rules of ONNX where the pass relies on them.
    """
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
        raise OnnxNormError(f"{name}: {_diagnosis(model, pass_name, cause)}") from error


def _diagnosis(model: ir.Model, pass_name: str, error: BaseException) -> str:
    found = f"{type(error).__name__}: {first_line(error)}"
    try:
        proto = _without_weights(model)
        onnx.checker.check_model(proto)
        infer_shapes(proto, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        return f"the model is malformed ({' '.join(str(fault).split())[:300]}); export it again"
    except Exception as fault:
        return f"the model is malformed ({first_line(fault)}); check it with onnx.checker"
    contradiction = None
    with contextlib.suppress(Exception):
        contradiction = contradiction_in(model)
    if contradiction is not None:
        return f"the model is malformed ({contradiction}); export it again"
    return (
        f"the pass {pass_name!r} failed ({found}), although ONNX finds nothing wrong with the model; leave that pass "
        "out, and please report it together with the model"
    )


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
