"""Rows of the matrix: a model as it was exported and for each target, an input, and what the formula makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm import OnnxNormError, reference
from onnxnorm.ops.attach import attach_bodies
from onnxnorm.optimizer.optimize import TARGETS

__all__ = ["FORMS", "OPSETS", "Row", "network_rows", "operator_rows"]

FORMS = ("exported", *TARGETS)
OPSETS = (11, 13, 15, 17, 18, 21, 23)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """A file to run.

    Attributes:
        subject: the network or operator.
        opset: that of the file; 0 for what the exporter chooses.
        form: one of `FORMS`.
        model: the file; None where it cannot be made.
        reason: why not.
        x: its input.
        wanted: the output, computed in double precision.
        tolerance: how far a result may be off, as a part of the largest number.
        is_network: whether it is a network of models/, not a small file.
        file: its name in the folder of files, without ending; files of one content have one name.
    """

    subject: str
    opset: int
    form: str
    model: onnx.ModelProto | None
    reason: str
    x: Array
    wanted: Array
    tolerance: float
    is_network: bool = False
    file: str = ""

    @property
    def name(self) -> str:
        return f"{self.subject}-{self.opset}-{self.form}".replace(" ", "_")


def _forms(
    subject: str,
    opset: int,
    exported: onnx.ModelProto,
    x: Array,
    wanted: Array,
    tolerance: float,
    *,
    network: bool = False,
) -> Iterator[Row]:
    for form in FORMS:
        model: onnx.ModelProto | None = exported
        reason = ""
        try:
            if form != "exported":
                result = onnxnorm.optimize(exported, target=form, verify=False).model
                assert isinstance(result, onnx.ModelProto)
                model = result
                # They name the target, and no runtime reads them: without them equal results are equal files.
                del model.metadata_props[:]
        except OnnxNormError as error:
            model, reason = None, str(error)
        yield Row(subject, opset, form, model, reason, x, wanted, tolerance, network)


def network_rows(names: list[str], opsets: tuple[int, ...]) -> Iterator[Row]:
    """Yield the networks of models/, exported at each opset; what cannot be exported is one row that says so."""
    import torch

    from models import MODELS

    for name, opset in itertools.product(names, opsets):
        spec = MODELS[name]
        module, inputs = spec.build(), spec.example_inputs()
        with torch.no_grad():
            wanted = spec.build().double()(inputs[0].double()).numpy()
        x = inputs[0].numpy()
        exporter = "dynamo" if opset >= 18 else "torchscript"
        try:
            exported = onnxnorm.export(module, inputs, opset=opset, verify=False, exporter=exporter)  # type: ignore[arg-type]
        except OnnxNormError as error:
            yield Row(name, opset, "exported", None, f"cannot be exported: {error}", x, wanted, 1e-4, True)
            continue
        yield from _forms(name, opset, exported, x, wanted, 1e-4, network=True)


_SINCE = {"LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23, "onnxnorm": 15}


@dataclass(frozen=True)
class _Operator:
    name: str
    op_type: str
    shape: tuple[int, ...]
    attributes: dict[str, Any]
    weights: tuple[tuple[int, ...], ...]
    formula: Callable[..., Array]
    dtypes: tuple[str, ...] = ("float32",)
    domain: str = ""


def _operators() -> Iterator[_Operator]:
    weights = ((6,), (6,))
    for beta, size in itertools.product((0.5, 0.6, 0.75, 0.9, 1.0), (3, 4)):
        constants = {"alpha": 0.5, "beta": beta, "bias": 2.0}
        # Attributes are single precision.
        exact = {key: float(np.float32(value)) for key, value in constants.items()}
        plain = beta == 0.75
        yield _Operator(
            f"intra-channel LRN {size} beta {beta}",
            "IntraChannelLRN",
            (1, 6, 7, 5),
            {"kernel_shape": [size, 3], **constants},
            (),
            lambda x, size=size, exact=exact: reference.intra_channel_lrn(x, [size, 3], **exact),
            ("float32", "float16", "float64") if plain else ("float32",),
            "onnxnorm",
        )
        standard = size % 2 == 1
        yield _Operator(
            f"inter-channel LRN {size} beta {beta}",
            "LRN" if standard else "InterChannelLRN",
            (1, 6, 4, 5),
            {"size": size, **constants},
            (),
            lambda x, size=size, exact=exact: reference.inter_channel_lrn(x, size, **exact),
            ("float32", "float64") if plain and not standard else ("float32",),
            "" if standard else "onnxnorm",
        )
    for shape in ((1, 6, 9), (1, 6, 4, 5), (1, 6, 3, 4, 5)):
        yield _Operator(
            f"InstanceNorm rank {len(shape)}", "InstanceNormalization", shape, {}, weights, reference.instance_norm
        )
    yield _Operator("BatchNorm", "BatchNormalization", (1, 6, 4, 5), {}, (*weights, (6,), (6,)), reference.batch_norm)
    yield _Operator("LayerNorm", "LayerNormalization", (2, 3, 6), {"axis": -1}, weights, reference.layer_norm)
    yield _Operator(
        "GroupNorm",
        "GroupNormalization",
        (2, 6, 4, 5),
        {"num_groups": 3},
        weights,
        lambda x, scale, bias: reference.group_norm(x, 3, scale, bias),
    )
    yield _Operator("RMSNorm", "RMSNormalization", (2, 3, 6), {"axis": -1}, ((6,),), reference.rms_norm)
    yield _Operator(
        "L2 norm", "LpNormalization", (2, 3, 6), {"axis": 1, "p": 2}, (), lambda x: reference.lp_norm(x, 1, 2)
    )
    yield _Operator(
        "mean and variance",
        "MeanVarianceNormalization",
        (2, 3, 4, 5),
        {"axes": [0, 2, 3]},
        (),
        reference.mean_variance_norm,
    )


def operator_rows(opsets: tuple[int, ...], names: Collection[str] | None = None) -> Iterator[Row]:
    """Yield a small file for each kind of normalization (or those of these names), from the opset on that has it."""
    tolerances = {"float32": 1e-5, "float16": 4e-3, "float64": 1e-5}
    for operator, opset in itertools.product(_operators(), opsets):
        if opset < _SINCE.get(operator.domain or operator.op_type, 0) or (names and operator.name not in names):
            continue
        for dtype in operator.dtypes:
            random = np.random.default_rng(0)
            x = random.standard_normal(operator.shape).astype(dtype)
            weights = [random.uniform(0.5, 1.5, extents).astype(dtype) for extents in operator.weights]
            wanted = operator.formula(x, *weights)
            subject = operator.name if dtype == "float32" else f"{operator.name} {dtype}"
            yield from _forms(subject, opset, _file(operator, opset, x, weights), x, wanted, tolerances[dtype])


def _file(operator: _Operator, opset: int, x: Array, weights: list[Array]) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(weight, f"w{place}") for place, weight in enumerate(weights)]
    node = helper.make_node(
        operator.op_type,
        ["x", *(constant.name for constant in constants)],
        ["y"],
        name="norm",
        domain=operator.domain,
        **operator.attributes,
    )
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    assert element != TensorProto.UNDEFINED
    values = [helper.make_tensor_value_info(name, element, x.shape) for name in "xy"]
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid("onnxnorm", 1)] if operator.domain else [])]
    graph = helper.make_graph([node], "operator", values[:1], values[1:], constants)
    ir_version = helper.find_min_ir_version_for(imports[:1])
    model = helper.make_model(graph, opset_imports=imports, ir_version=max(ir_version, 4))
    attach_bodies(model)
    return model
