"""Random graphs around one operator: linear operators and affines before and behind it, in every consumer pattern.

A case is a function that puts its operator on a value. What stands around it is drawn: nothing, linear operators,
BatchNormalization, affine arithmetic, bends and saturations; with scales of both signs, zero and tiny; with other
readers of what goes into the operator and of what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from testing.builder import Builder, folded

__all__ = ["Case", "Surroundings", "check_around"]

KINDS = ("positive", "mixed", "mixed", "one", "zero", "half-zero", "tiny", "unit")
SHAPES = {
    2: ((2, 4), (3, 3)),
    3: ((2, 4, 5), (2, 4, 4), (1, 3, 6)),
    4: ((2, 4, 5, 4), (2, 4, 4, 4), (1, 6, 3, 3), (2, 2, 1, 4)),
    5: ((1, 2, 3, 2, 4),),
}


class Surroundings(Builder):
    """A builder that draws what it builds from hypothesis, and knows the shapes of its values."""

    def __init__(self, draw: Callable[[Any], Any], *, opset: int = 18) -> None:
        super().__init__(seed=draw(st.integers(0, 2**20)), opset=opset)
        self.draw = draw
        self.ir_version = 10 if opset > 20 else 8
        self._shapes: dict[str, tuple[int, ...]] = {}

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def coin(self) -> bool:
        return bool(self.draw(st.booleans()))

    def node(
        self, op_type: str, *inputs: str, name: str | None = None, out: str | None = None, **attributes: Any
    ) -> str:
        output = super().node(op_type, *inputs, name=name, out=out, **attributes)
        if op_type == "GroupNormalization":
            # ONNX infers no shape for it.
            self.told(output, self.shape(inputs[0]))
        return output

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            # The node checker of the package onnx wants outputs with a shape, so every shape is inferred at once.
            graph = onnx.helper.make_graph(
                self.nodes, "so_far", self.inputs, [], self.constants, value_info=self.value_info
            )
            model = onnx.helper.make_model(
                graph, opset_imports=[onnx.helper.make_opsetid("", self.opsets[""])], ir_version=self.ir_version
            )
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
            for value in (*inferred.input, *inferred.value_info):
                self._shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        return self._shapes[name]

    def kind(self) -> str:
        return str(self.pick(*KINDS))

    def norm(self, x: str) -> str:
        return self.batch_norm(x, self.shape(x)[1], self.kind(), shift=self.pick(True, True, False))

    def arithmetic(self, x: str) -> str:
        """x with a constant that varies along one axis, along none, or along all."""
        shape = self.shape(x)
        axis = self.pick(None, 1, 1, len(shape) - 1, 0)
        axis = axis if axis is None or axis < len(shape) else None
        extents = [extent if i == axis else 1 for i, extent in enumerate(shape)]
        array = self.vector(int(np.prod(extents)), self.kind()).reshape(extents)
        while array.ndim and array.shape[0] == 1 and self.coin():
            array = array[0]
        operator = self.pick("Mul", "Add", "Sub", "Div")
        if operator == "Div":
            array = np.where(np.abs(array) < 0.1, 0.7, array)
        operands = [x, self.constant(array)]
        if operator != "Div" and self.coin():
            operands.reverse()
        return self.node(operator, *operands)

    def linear(self, x: str) -> str:
        shape = self.shape(x)
        rank = len(shape)
        options = ["MatMul", "MatMulLeft"] if rank >= 2 else []
        options += ["Gemm"] * 2 if rank == 2 else []
        options += ["Conv"] * 4 if 3 <= rank <= 5 else []
        if not options:
            return self.arithmetic(x)
        what = self.pick(*options)
        if what == "MatMul":
            return self.node("MatMul", x, self.constant(self.normal(shape[-1], 3)))
        if what == "MatMulLeft":
            return self.node("MatMul", self.constant(self.normal(3, shape[-2])), x)
        if what == "Gemm":
            return self.node("Gemm", x, self.constant(self.normal(shape[1], 3)), self.constant(self.normal(3)))
        kernel = [self.pick(1, min(2, extent)) for extent in shape[2:]]
        pads = [self.pick(0, 0, 1)] * (2 * len(kernel))
        return self.conv(x, shape[1], self.pick(2, shape[1]), kernel, bias=self.coin(), pads=pads)

    def linear_like(self, x: str) -> str:
        """A convolution or product that keeps the shape."""
        shape = self.shape(x)
        if len(shape) == 2:
            return self.node("MatMul", x, self.constant(self.normal(shape[1], shape[1])))
        return self.conv(x, shape[1], shape[1], [1] * (len(shape) - 2))

    def something(self, x: str) -> str:
        options = ["linear", "linear", "arithmetic", "Relu", "Sigmoid"]
        if len(self.shape(x)) >= 2:
            options += ["norm", "norm", "norm"]
        what = self.pick(*options)
        if what in ("Relu", "Sigmoid"):
            return self.node(what, x)
        return str(getattr(self, what)(x))

    def chain(self, x: str, longest: int) -> str:
        for _ in range(self.draw(st.integers(0, longest))):
            x = self.something(x)
        return x


Case = Callable[[Surroundings, str], "str | list[str]"]


def check_around(
    draw: Callable[[Any], Any], case: Case, *, ranks: Sequence[int], opset: int = 18, check: bool = True
) -> None:
    """Build a graph around the operator of `case`, fold it and compare in float64."""
    net = Surroundings(draw, opset=opset)
    rank = net.pick(*ranks)
    x = net.chain(net.input(net.pick(*SHAPES[rank])), 2)
    if len(net.shape(x)) not in ranks:
        x = "x"
    if net.coin() and len(net.shape(x)) >= 2:
        x = net.norm(x)
    made = case(net, x)
    outputs = []
    for y in [made] if isinstance(made, str) else made:
        net.shape(y)
        outputs.append(net.chain(net.norm(y) if net.coin() and len(net.shape(y)) >= 2 else y, 2))
        extra = net.pick("", "", "", "output", "branch")
        if extra == "output":
            outputs.append(y)
        elif extra == "branch":
            outputs.append(net.chain(y, 2))
    extra = net.pick("", "", "", "output", "branch")
    if extra == "output":
        outputs.append(x)
    elif extra == "branch":
        outputs.append(net.chain(x, 2))
    outputs = [name for name in dict.fromkeys(outputs) if name != "x"] or [net.node("Identity", x)]
    folded(net.model(*outputs), check=check)
