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
    if rank is None or rank < 3 or (layout is not None and len(layout) != rank):
        told = "unknown" if rank is None else str(rank)
        raise OnnxNormError(f"input {name!r} has rank {told}, and {layout or 'an image'} has {len(layout or 'NCHW')}")
    channels_last = layout is not None and layout.endswith("C")
    outer = ir.Value(name=name, type=image.type, shape=shape, doc_string=image.doc_string)
    if channels_last:
        assert shape is not None
        outer.shape = ir.Shape([shape[0], *shape[2:], shape[1]])
    if preprocessing.dtype is not None:
        outer.type = ir.TensorType(ir.DataType[_NAMES[preprocessing.dtype]])
    graph = model.graph
    graph.inputs[list(graph.inputs).index(image)] = outer
    image.name = facts.fresh_name(f"{name}_preprocessed")
    chain = _Chain(facts, graph, outer, name)
    if channels_last:
        chain.add("Transpose", perm=[0, rank - 1, *range(1, rank - 1)])
    if outer.dtype is not image.dtype:
        assert image.dtype is not None
        chain.add("Cast", to=int(image.dtype))
    _normalize(chain, image, preprocessing, rank)
    last = chain.value
    if last is outer and image.shape == outer.shape:
        # Nothing but a name was asked for.
        image.name, outer.name = name, facts.fresh_name(name)
        graph.inputs[list(graph.inputs).index(outer)] = image
        return
    ir.convenience.replace_all_uses_with(image, last, replace_graph_outputs=True)


_NAMES = {name: {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()) for name in DTYPES}


def _normalize(chain: _Chain, image: ir.Value, preprocessing: Preprocessing, rank: int) -> None:
    channels = image.shape[1] if image.shape is not None else None
    for word, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(values) > 1 and channels != len(values):
            told = f"{len(values)} numbers of {word} are given"
            raise OnnxNormError(f"{told}, and input {chain.name!r} has {channels if channels else 'open'} channels")
    if preprocessing.swap_rb and channels not in (3, None) and isinstance(channels, int):
        raise OnnxNormError(f"swap_rb is for images of three channels, and input {chain.name!r} has {channels}")
    mean = np.asarray(preprocessing.mean) / preprocessing.scale
    factor = preprocessing.scale / np.asarray(preprocessing.std)
    dtype = image.dtype
    assert dtype is not None
    if mean.any():
        # Before the swap, which then stands next to what it goes into.
        own = mean[::-1] if preprocessing.swap_rb else mean
        chain.add("Sub", chain.constant("mean", _lifted(own, rank), dtype))
    if preprocessing.swap_rb:
        order = np.array([2, 1, 0], np.int64)
        chain.add("Gather", chain.constant("order", order, ir.DataType.INT64), axis=1)
    if np.any(factor != 1.0):
        chain.add("Mul", chain.constant("scale", _lifted(factor, rank), dtype))


def _lifted(values: npt.NDArray[np.float64], rank: int) -> npt.NDArray[np.float64]:
    if np.all(values == values[0]):
        return np.array(values[0])
    return values.reshape(-1, *(1,) * (rank - 2))


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
