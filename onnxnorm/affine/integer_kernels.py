"""Guards the patterns of which runtimes make integer kernels: products whose operands stand behind DequantizeLinear.

onnxruntime puts QLinearConv, QLinearMatMul, MatMulIntegerToFloat or QGemm in the place of such a product by its looks.
It takes for granted that the scales of a weight are those of its output channels, that a convolution has one zero point
for all of them, and that a quantized bias has the scale of the input times that of the weight. Where that is not so,
its result is wrong or the run fails, although the model means what it should. So three things are seen to here:

- a node that goes must not complete such a pattern over a weight that the kernels do not take,
- a node that comes must not break one,
- a quantized bias is written in floating point once the scales before it change; onnxruntime rounds it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.interface import Constant
from onnxnorm.affine.region import Region
from onnxnorm.graph.edit import add_constant, drop_if_unused
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.model.dtypes import FLOATS

__all__ = ["biases_in_full", "completed", "is_for_kernel", "output_axis", "products_near"]

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
# Runtimes move quantization over these, and take a Relu or a Clip before it into its bounds.
_PASSED = frozenset({"Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BOUNDS = frozenset({"Clip", "Relu"})


def output_axis(node: ir.Node, index: int, rank: int) -> int | None:
    """Return the axis of the output channels in the weight that is input `index` of the product; None where none is."""
    if index != 1 or not is_standard(node):
        return None
    if node.op_type == "Gemm":
        flipped = node.attributes.get("transB")
        return 0 if flipped is not None and flipped.as_int() else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}.get(node.op_type)


def is_for_kernel(value: ir.Value, readers: Iterable[object]) -> bool:
    """Whether a DequantizeLinear makes the value for one of these readers that runs on integers, as things stand."""
    if not _makes(value.producer(), "DequantizeLinear"):
        return False
    view = _View()
    return any(
        _is_weight_only(reader, value) or view.is_kernel(reader) for reader in readers if isinstance(reader, ir.Node)
    )


def completed(region: Region, facts: Facts) -> tuple[ir.Node, str] | None:
    """Find a product that would run on integers once the region is applied, with a weight that no kernel takes.

    Returns:
        The product, and a sentence that goes on from its name; None where there is none.
    """
    view, now = _after(region), _View()
    for product in view.products():
        if not view.is_kernel(product):
            continue
        wrong = _unfit(product, view, facts)
        if wrong is None or (now.is_kernel(product) and _unfit(product, now, facts) is not None):
            continue
        return (
            product,
            f"would run on integers then, and its weight has {wrong}, which the kernels for that do not take",
        )
    return None


def products_near(region: Region) -> tuple[ir.Node, ...]:
    """Return the products next to what the region takes away, or whose dequantized operands it changes."""
    view = _after(region)
    scaled = {
        user
        for node in view.constants
        if node.op_type == "DequantizeLinear"
        for user in view.readers(node.outputs[0])
        if user.op_type in _BIASED
    }
    return (*dict.fromkeys((*(node for node in view.products()), *scaled)),)


def biases_in_full(products: Iterable[ir.Node], facts: Facts) -> None:
    """Write the quantized biases of products in floating point, since scales before them have changed."""
    for node in products:
        bias = node.inputs[2] if node.op_type in _BIASED and is_standard(node) and len(node.inputs) > 2 else None
        maker = producer_of(bias)
        if bias is None or maker is None or node.graph is None or not _makes(maker, "DequantizeLinear"):
            continue
        array = facts.dequantized(bias)
        if array is None or bias.dtype is None or bias.dtype not in FLOATS:
            continue
        name = facts.fresh_name(f"{bias.name}_folded")
        node.replace_input_with(2, add_constant(node.graph, name, array, bias.dtype, facts))
        _drop(maker, facts)


def _drop(maker: ir.Node, facts: Facts) -> None:
    if any(value.uses() or value.is_graph_output() for value in maker.outputs) or maker.graph is None:
        return
    operands = list(maker.inputs)
    maker.graph.remove(maker, safe=True)
    for value in operands:
        drop_if_unused(value, facts)


def _makes(node: ir.Node | None, op_type: str) -> bool:
    return node is not None and node.op_type == op_type and is_standard(node)


def _is_weight_only(product: ir.Node, value: ir.Value) -> bool:
    """Whether the product has a kernel for a quantized weight alone (MatMulNBits of onnxruntime)."""
    return product.op_type in ("Gemm", "MatMul") and is_standard(product) and product.inputs[1] is value


@dataclass(frozen=True)
class _View:
    """A view of the graph in which some nodes are gone, and between some values and their readers nodes have come.

    Attributes:
        gone: for each node that goes, the number of the input that takes the place of its output.
        come: values and readers with a new node in between.
        constants: the new constants of nodes, by their roles.
        axes: the new axes of nodes.
    """

    gone: Mapping[ir.Node, int] = field(default_factory=dict)
    come: frozenset[tuple[ir.Value, object]] = frozenset()
    constants: Mapping[ir.Node, Mapping[str, Constant]] = field(default_factory=dict)
    axes: Mapping[ir.Node, int] = field(default_factory=dict)

    def products(self) -> Iterator[ir.Node]:
        """Yield the products near to what has changed."""
        found: dict[ir.Node, None] = {}
        for node in self.gone:
            value = node.outputs[0]
            found.update(dict.fromkeys(self._makers(value)))
            found.update(dict.fromkeys(self.readers(value)))
        for node in self.constants:
            if node.op_type == "DequantizeLinear":
                found.update(dict.fromkeys(self.readers(node.outputs[0])))
        yield from (node for node in found if node.op_type in _PRODUCTS and is_standard(node))

    def is_kernel(self, product: ir.Node) -> bool:
        """Whether the product runs on integers: its operands are dequantized, and its result is quantized."""
        if product.op_type not in _PRODUCTS or not is_standard(product) or len(product.inputs) < 2:
            return False
        if any(self.dequantizer(product, index) is None for index in (0, 1)):
            return False
        if product.op_type != "Conv":
            # The result may also be scaled back at once.
            return True
        readers = list(self.readers(product.outputs[0], _PASSED | _BOUNDS))
        return bool(readers) and all(_makes(reader, "QuantizeLinear") for reader in readers)

    def dequantizer(self, product: ir.Node, index: int) -> ir.Node | None:
        """Return the DequantizeLinear that makes an operand of the product; None where something else does."""
        value, reader = product.inputs[index], product
        while value is not None and (value, reader) not in self.come:
            maker = value.producer()
            if maker is None:
                return None
            if maker in self.gone:
                value, reader = maker.inputs[self.gone[maker]], maker
            elif index == 0 and maker.op_type in _PASSED:
                value, reader = maker.inputs[0], maker
            else:
                return maker if _makes(maker, "DequantizeLinear") else None
        return None

    def _makers(self, value: ir.Value | None) -> Iterator[ir.Node]:
        while value is not None and (maker := value.producer()) is not None:
            if maker in self.gone:
                value = maker.inputs[self.gone[maker]]
            elif maker.op_type in _PASSED | _BOUNDS:
                value = maker.inputs[0]
            else:
                yield maker
                return

    def readers(self, value: ir.Value, passed: frozenset[str] = _PASSED) -> Iterator[ir.Node]:
        """Yield the nodes that read the value, behind those that are gone or that quantization passes."""
        values, seen = [value], set[ir.Value]()
        while values:
            current = values.pop()
            if current in seen:
                continue
            seen.add(current)
            for user in current.consumers():
                through = user in self.gone or (user.op_type in passed and is_standard(user))
                if through and (current, user) not in self.come:
                    values.append(user.outputs[0])
                else:
                    yield user


def _after(region: Region) -> _View:
    gone: dict[ir.Node, int] = {}
    constants: dict[ir.Node, dict[str, Constant]] = {}
    axes: dict[ir.Node, int] = {}
    for node, edit in region.edits.items():
        kept = edit.inputs[0] if edit.inputs else None
        if edit.removed and isinstance(kept, int):
            gone[node] = kept
            continue
        constants[node] = {each.role: each for each in edit.inputs if isinstance(each, Constant)}
        axis = edit.attributes.get("axis")
        if axis is not None:
            axes[node] = axis.as_int()
    come = frozenset(
        (insertion.value, reader)
        for insertion in region.insertions
        if insertion.op_types
        for reader in insertion.readers
    )
    return _View(gone, come, constants, axes)


def _unfit(product: ir.Node, view: _View, facts: Facts) -> str | None:
    """Say what the kernels do not take of the weight of the product; None where it fits."""
    node = view.dequantizer(product, 1)
    assert node is not None
    scale, points = (_operand(node, index, role, view, facts) for index, role in ((1, "scale"), (2, "zero point")))
    integers, shape = node.inputs[0], None if node.inputs[0] is None else facts.shape(node.inputs[0])
    if scale is None or scale.size == 1 or integers is None or shape is None:
        return None
    if scale.ndim > 1:
        return "a scale for each block"
    attribute = node.attributes.get("axis")
    axis = view.axes.get(node, 1 if attribute is None else attribute.as_int())
    if axis % len(shape) != output_axis(product, 1, len(shape)):
        return "scales that are not those of its output channels"
    if product.op_type == "Conv" and points is not None and np.any(points != points.flat[0]):
        return "zero points that differ from channel to channel"
    return None


def _operand(node: ir.Node, index: int, role: str, view: _View, facts: Facts) -> np.ndarray | None:
    new = view.constants.get(node, {}).get(role)
    if new is not None:
        return np.asarray(new.compute(), np.float64)
    return facts.constant(node.inputs[index]) if index < len(node.inputs) else None
