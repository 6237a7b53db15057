"""Reads the example inputs of `onnxnorm export`: `batch=1,3,224,224` and `ids:int64:batch=1,length=128`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

__all__ = ["InputOption", "OpenShape", "input_option", "open_shape"]

_TYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True)
class OpenShape:
    """A shape, some of whose dimensions may have a name, by which they stay open.

    Attributes:
        dims: the sizes.
        open_axes: the names by axis.
    """

    dims: tuple[int, ...]
    open_axes: dict[int, str]


@dataclass(frozen=True)
class InputOption:
    """An input as the command line describes it."""

    name: str
    dtype: str
    shape: OpenShape

    def tensor(self, generator: Any) -> Any:
        """Make a random tensor: numbers of a normal distribution, or zeros and ones where they are whole."""
        import torch

        dtype = getattr(torch, self.dtype)
        if dtype.is_floating_point:
            return torch.randn(self.shape.dims, generator=generator).to(dtype)
        # Small enough for a table of any size that has two rows.
        return torch.randint(0, 2, self.shape.dims, generator=generator).to(dtype)


def open_shape(text: str) -> OpenShape:
    """Read `1,3,224,224` or `batch=1,3,height=224,width=224`."""
    if ":" in text:
        name = text.rpartition(":")[0]
        raise argparse.ArgumentTypeError(
            f"export takes shapes in the order of the inputs: write it without the name {name!r}, or --input {text}"
        )
    dims: list[int] = []
    names: dict[int, str] = {}
    for axis, part in enumerate(text.split(",")):
        name, equals, extent = part.strip().rpartition("=")
        if not extent.isdecimal() or (equals and not name.isidentifier()):
            raise argparse.ArgumentTypeError(f"{text!r} is no shape: write 1,3,224,224 or batch=1,3,224,224")
        dims.append(int(extent))
        if equals:
            names[axis] = name
    return OpenShape(tuple(dims), names)


def input_option(text: str) -> InputOption:
    """Read `name:type:1,128`, or `name:1,128` for float32."""
    parts = text.split(":")
    if len(parts) == 2:
        parts.insert(1, "float32")
    if len(parts) != 3 or not parts[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is no input: write ids:int64:1,128 or image:1,3,224,224")
    name, dtype, shape = parts
    if dtype not in _TYPES:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no type {dtype!r}; there are: {', '.join(_TYPES)}")
    return InputOption(name, dtype, open_shape(shape))
