"""Puts the preprocessing of an image in front of a model, so that it takes pixels as they come from a decoder.

Before: y = model(x), where x is float, channels first, normalized. After: y = model(normalized(pixels)) with

    normalized(p) = (scale * p' - mean) / std,    p' = p in the order of axes, of channels and in the type of the model

The nodes are written so that folding takes as many of them as can go exactly: the mean is taken off first, in units of
the pixels, and a single Mul follows. That Mul goes into whatever linear operator comes first, whether it pads or not;
the mean goes along where nothing is padded. Before zero padding the one Sub stays: a zero of the padding stands for a
pixel of the mean, and to make up for that behind the convolution takes a tensor of the size of its result, which is
larger than the image. A swap of channels becomes a permutation of weights where a linear operator comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.validate.choices import closest

__all__ = ["DTYPES", "LAYOUTS", "Preprocessing", "prepend"]

DTYPES = ("uint8", "int8", "uint16", "int16", "int32", "float16", "bfloat16", "float32", "float64")
LAYOUTS = ("NCHW", "NHWC", "NCDHW", "NDHWC", "NCW", "NWC")
_KEYS = ("mean", "std", "scale", "input")
_FLOAT = ir.DataType.FLOAT
_HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
# Types of two bytes do not hold all of their numbers.
_LONG_INTEGERS = frozenset({ir.DataType.UINT16, ir.DataType.INT16, ir.DataType.INT32})
_LIKELY_CHANNELS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Preprocessing:
    """The operations that an image goes through before the model sees it.

    Attributes:
        mean, std: one number, or one for each channel in the order of the model's channels.
        scale: what every pixel is multiplied by first, such as 1/255.
        layout: the order of the axes that the new input has; None for that of the model.
        dtype: the type of the new input; None for that of the model.
        swap_rb: whether the new input has its channels in reverse order, blue first where the model takes red first.
        input: the name of the input; None where the model has one image alone.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    layout: str | None = None
    dtype: str | None = None
    swap_rb: bool = False
    input: str | None = None

    @property
    def channels(self) -> int | None:
        """The number of channels that the options are for; None where any will do."""
        numbers = [len(values) for values in (self.mean, self.std) if len(values) > 1]
        return numbers[0] if numbers else 3 if self.swap_rb else None

    @classmethod
    def of(
        cls,
        normalize_input: Mapping[str, Any] | None = None,
        input_layout: str | None = None,
        input_dtype: str | None = None,
        swap_rb: bool = False,
    ) -> Preprocessing | None:
        """Make the preprocessing of the options of `optimize`; None where they ask for none.

        Raises:
            OnnxNormError: an option means nothing.
        """
        if normalize_input is not None and not isinstance(normalize_input, Mapping):
            raise OnnxNormError(
                f'normalize_input is a dictionary, such as {{"mean": (0.485, 0.456, 0.406)}}, not {normalize_input!r}'
            )
        numbers = dict(normalize_input or {})
        for key in numbers:
            if key not in _KEYS:
                hint = closest(str(key), _KEYS)
                raise OnnxNormError(f"normalize_input has no {key!r}{hint}; it takes {', '.join(_KEYS)}")
        if input_layout is not None and input_layout.upper() not in LAYOUTS:
            raise OnnxNormError(
                f"input_layout (--input-layout) must be one of {', '.join(LAYOUTS)}, not {input_layout!r}"
            )
        if input_dtype is not None and input_dtype not in DTYPES:
            raise OnnxNormError(f"input_dtype (--input-dtype) must be one of {', '.join(DTYPES)}, not {input_dtype!r}")
        mean, std = _numbers("mean", numbers.get("mean", 0.0)), _numbers("std", numbers.get("std", 1.0))
        (scale,) = _numbers("scale", numbers.get("scale", 1.0), one=True)
        for name, values in (("std", std), ("scale", (scale,))):
            if 0.0 in values:
                raise OnnxNormError(f"a {name} of zero would leave nothing of the input")
        if len({len(mean), len(std), *((3,) if swap_rb else ()), 1}) > 2:
            wrong = f"{len(mean)} numbers of mean, {len(std)} of std" + (" and swap_rb for three" if swap_rb else "")
            raise OnnxNormError(f"{wrong}: that is no one number of channels")
        made = cls(
            mean, std, scale, None if input_layout is None else input_layout.upper(), input_dtype, swap_rb,
            numbers.get("input"),
        )  # fmt: skip
        if made != cls(input=made.input):
            return made
        if numbers.keys() == {"input"}:
            raise OnnxNormError("normalize_input names an input, and nothing to do with it: give a mean, std or scale")
        return None


def _numbers(name: str, given: Any, *, one: bool = False) -> tuple[float, ...]:
    try:
        values = np.asarray(given, np.float64).reshape(-1)
    except (TypeError, ValueError):
        values = np.empty(0)
    if not values.size or not np.isfinite(values).all() or (one and values.size > 1):
        wanted = "a number" if one else "a number or one for each channel"
        raise OnnxNormError(f"{name} must be {wanted}, not {given!r}")
    return tuple(values.tolist())


def prepend(model: ir.Model, preprocessing: Preprocessing) -> None:
    """Put the preprocessing in front of the input of the model.

    Raises:
        OnnxNormError: the model has no such input, or the numbers do not fit it.
    """
    facts = Facts(model)
    image = _image(model, preprocessing.input)
    shape, name = image.shape, image.name
    assert name is not None
    rank = None if shape is None else len(shape)
    layout = preprocessing.layout
    if shape is None or rank is None or rank < 3 or (layout is not None and len(layout) != rank):
        told = "unknown" if rank is None else str(rank)
        raise OnnxNormError(f"input {name!r} has rank {told}, and {layout or 'an image'} has {len(layout or 'NCHW')}")
    axis = _channel_axis(shape, name, preprocessing)
    if preprocessing.channels is not None and not isinstance(shape[axis], int):
        shape = ir.Shape([preprocessing.channels if each == axis else extent for each, extent in enumerate(shape)])
    order = _order(rank, axis, layout)
    outer = ir.Value(name=name, type=image.type, doc_string=image.doc_string)
    outer.shape = ir.Shape([shape[order.index(each)] for each in range(rank)])
    if preprocessing.dtype is not None:
        outer.type = ir.TensorType(ir.DataType[_NAMES[preprocessing.dtype]])
    graph = model.graph
    graph.inputs[list(graph.inputs).index(image)] = outer
    image.name = facts.fresh_name(f"{name}_preprocessed")
    chain = _Chain(facts, graph, outer, name)
    if order != sorted(order):
        chain.add("Transpose", perm=order)
    assert image.dtype is not None and outer.dtype is not None
    dtype = _FLOAT if image.dtype in _HALVES and outer.dtype in _LONG_INTEGERS else image.dtype
    if outer.dtype is not dtype:
        chain.add("Cast", to=int(dtype))
    _normalize(chain, dtype, preprocessing, rank, axis)
    if dtype is not image.dtype:
        chain.add("Cast", to=int(image.dtype))
    last = chain.value
    if last is outer and image.shape == outer.shape:
        # Nothing but a name was asked for.
        image.name, outer.name = name, facts.fresh_name(name)
        graph.inputs[list(graph.inputs).index(outer)] = image
        return
    ir.convenience.replace_all_uses_with(image, last, replace_graph_outputs=True)


_NAMES = {name: {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()) for name in DTYPES}


def _channel_axis(shape: ir.Shape, name: str, preprocessing: Preprocessing) -> int:
    """Return the axis of the model's channels: the second, unless extents say that it is the last.

    Raises:
        OnnxNormError: neither has as many channels as the numbers are for.
    """
    wanted, last = preprocessing.channels, len(shape) - 1
    likely = _LIKELY_CHANNELS if wanted is None else (wanted,)
    for axis in (1, last):
        if shape[axis] in likely:
            return axis
    if wanted is None or not isinstance(shape[1], int):
        return 1
    word = next((word for word in ("mean", "std") if len(getattr(preprocessing, word)) > 1), None)
    told = f"{wanted} numbers of {word} are given" if word else "swap_rb is for images of three channels"
    raise OnnxNormError(f"{told}, and input {name!r} has {shape[1]} channels")


def _order(rank: int, axis: int, layout: str | None) -> list[int]:
    """Return where each axis of the model stands in the new input."""
    own, every = list(range(rank)), list(range(1, rank - 1))
    if layout is None or layout.endswith("C") is (axis == rank - 1):
        return own
    return [0, rank - 1, *every] if layout.endswith("C") else [0, *(each + 1 for each in every), 1]


def _normalize(chain: _Chain, dtype: ir.DataType, preprocessing: Preprocessing, rank: int, axis: int) -> None:
    mean = np.asarray(preprocessing.mean) / preprocessing.scale
    factor = preprocessing.scale / np.asarray(preprocessing.std)
    if mean.any():
        # Before the swap, which then stands next to what it goes into.
        own = mean[::-1] if preprocessing.swap_rb else mean
        chain.add("Sub", chain.constant("mean", _lifted(own, rank, axis), dtype))
    if preprocessing.swap_rb:
        order = np.array([2, 1, 0], np.int64)
        chain.add("Gather", chain.constant("order", order, ir.DataType.INT64), axis=axis)
    if np.any(factor != 1.0):
        chain.add("Mul", chain.constant("scale", _lifted(factor, rank, axis), dtype))


def _lifted(values: npt.NDArray[np.float64], rank: int, axis: int) -> npt.NDArray[np.float64]:
    if np.all(values == values[0]):
        return np.array(values[0])
    return values.reshape(-1, *(1,) * (rank - 1 - axis))


class _Chain:
    """Nodes put in front of a graph, each reading what the one before it makes."""

    def __init__(self, facts: Facts, graph: ir.Graph, value: ir.Value, name: str) -> None:
        self.value, self.name = value, name
        self._facts, self._graph = facts, graph
        self._first: ir.Node | None = graph[0] if len(graph) else None

    def constant(self, role: str, array: npt.NDArray[Any], dtype: ir.DataType) -> ir.Value:
        name = self._facts.fresh_name(f"{self.name}_{role}")
        return add_constant(self._graph, name, array.astype(dtype.numpy()), dtype, self._facts)

    def add(self, op_type: str, *constants: ir.Value, **attributes: int | Sequence[int]) -> None:
        name = self._facts.fresh_name(f"{self.name}_{op_type.lower()}")
        node = ir.node(op_type, [self.value, *constants], attributes=attributes, name=name)
        made = node.outputs[0]
        made.name = self._facts.fresh_name(f"{name}_out")
        if self._first is None:
            self._graph.append(node)
        else:
            self._graph.insert_before(self._first, node)
        self.value = made


def _image(model: ir.Model, name: str | None) -> ir.Value:
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    if name is not None:
        for value in inputs:
            if value.name == name:
                break
        else:
            there = ", ".join(repr(value.name) for value in inputs)
            raise OnnxNormError(f"the model has no input {name!r}; it has {there or 'none'}")
        images = [value]
    else:
        images = [
            value for value in inputs if value.dtype in FLOATS and value.shape is not None and len(value.shape) > 2
        ]
    if len(images) != 1:
        there = ", ".join(repr(value.name) for value in images)
        raise OnnxNormError(
            f"{there or 'no input'} could be the image: name it, normalize_input={{'input': ...}} or --image-input"
            if images
            else "no input of the model is an image: a tensor of floats of rank 3 or more"
        )
    if images[0].dtype not in FLOATS:
        raise OnnxNormError(f"input {name!r} is not of floating point, and nothing can be normalized for it")
    return images[0]
