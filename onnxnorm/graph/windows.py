"""Windows of convolutions and pools: their attributes as numbers, and where their taps lie on an input.

Along one axis a window has `kernel` taps, `dilation` apart, and spans (kernel - 1) * dilation + 1 places. It is put on
the input every `stride` places, with zeros in front and behind. The evaluator (`evaluate/windows.py`) reads windows by
itself: what is proved must not be computed by what proves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Dim

__all__ = ["PlacedWindow", "Window", "read_window", "same_padding", "span", "stated_padding"]

Padding = tuple[tuple[int, int], ...]


def span(kernel: int, dilation: int) -> int:
    """Return the distance from the first place of a window to behind its last."""
    return (kernel - 1) * dilation + 1


def same_padding(kernel: int, stride: int, dilation: int, extent: Dim, *, upper: bool) -> tuple[int, int] | None:
    """Return the zeros in front and behind that `auto_pad` SAME adds, for ceil(extent / stride) results.

    An odd number leaves one more behind (SAME_UPPER) or in front. None where they depend on an extent that is not
    known; with a stride of 1, or a single tap, they depend on none.
    """
    if stride == 1 or kernel == 1:
        total = span(kernel, dilation) - 1
    elif isinstance(extent, int) and extent > 0:
        total = max(0, (-(-extent // stride) - 1) * stride + span(kernel, dilation) - extent)
    else:
        return None
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def stated_padding(node: ir.Node, rank: int) -> Padding | None:
    """Return the zeros in front and behind along each axis of space that the attributes of an operator state.

    None where they follow from the extents (SAME, `output_shape`), are not known, or are not those of `rank` axes.
    """
    mode = node.attributes.get("auto_pad")
    if "output_shape" in node.attributes or (mode is not None and mode.is_ref()):
        return None
    word = "NOTSET" if mode is None else mode.as_string()
    if word not in ("NOTSET", "VALID"):
        return None
    pads = (0,) * 2 * rank if word == "VALID" else _integers(node, "pads", 2 * rank, 0)
    return None if pads is None else tuple(zip(pads[:rank], pads[rank:], strict=True))


@dataclass(frozen=True)
class Window:
    """The window of a node as its attributes give it, with one entry for each axis of space.

    Attributes:
        kernel, strides, dilations: taps, steps, and distances between taps.
        padding: zeros in front and behind; None where they follow from the extents.
        upper: where they follow from the extents, whether an odd one stands behind.
        is_same: whether `auto_pad` is one of the SAME.
        ceils: whether the number of results is rounded up.
        extra: what a transposed convolution adds at the end (`output_padding`).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: Padding | None
    upper: bool = True
    is_same: bool = False
    ceils: bool = False
    extra: tuple[int, ...] = ()

    @property
    def spans(self) -> tuple[int, ...]:
        return tuple(map(span, self.kernel, self.dilations))

    @property
    def may_pad(self) -> bool:
        """Whether a window may reach beyond the input."""
        if self.padding is None:
            return any(extent > 1 for extent in self.kernel)
        return any(any(ends) for ends in self.padding) or self.ceils

    def padding_on(self, extents: Sequence[Dim]) -> Padding | None:
        """Return the zeros around an input of these extents; missing ones are not known.

        None where they cannot be told, as those of a transposed convolution that follow from the extents.
        """
        if self.padding is not None or not self.is_same:
            return self.padding
        known = [*extents, *[None] * (len(self.kernel) - len(extents))]
        found: list[tuple[int, int]] = []
        for kernel, stride, dilation, extent in zip(self.kernel, self.strides, self.dilations, known, strict=True):
            ends = same_padding(kernel, stride, dilation, extent, upper=self.upper)
            if ends is None:
                return None
            found.append(ends)
        return tuple(found)

    def placed(
        self, extents: tuple[int, ...], results: tuple[int, ...], *, transposed: bool = False
    ) -> PlacedWindow | None:
        """Put the window on an input that gives an output; None where these extents do not fit together."""
        padding = None if transposed and self.padding is None else self.padding_on(extents)
        if padding is None or any(min(ends) < 0 for ends in padding):
            return None
        for axis, (extent, (begin, end), length) in enumerate(zip(extents, padding, self.spans, strict=True)):
            stride = self.strides[axis]
            if transposed:
                count = stride * (extent - 1) + self.extra[axis] + length - begin - end
            else:
                count = (extent + begin + end - length) // stride + 1
            if count != results[axis]:
                return None
        begins = tuple(begin for begin, _ in padding)
        return PlacedWindow(self.kernel, self.strides, self.dilations, begins, extents, results, transposed)


@dataclass(frozen=True)
class PlacedWindow:
    """A window on an input of known extents.

    Attributes:
        kernel, strides, dilations: those of the window.
        begins: zeros in front.
        extents, results: of the input and the output.
        transposed: whether the window writes, as that of a transposed convolution does.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    extents: tuple[int, ...]
    results: tuple[int, ...]
    transposed: bool

    @property
    def sources(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """The places of the input that are read, for each axis: indices (taps, results), and whether they exist."""
        found = []
        for axis, (extent, results) in enumerate(zip(self.extents, self.results, strict=True)):
            stride = self.strides[axis]
            offsets = np.arange(self.kernel[axis])[:, None] * self.dilations[axis] - self.begins[axis]
            indices = np.arange(results)[None]
            if self.transposed:
                places, rest = np.divmod(indices - offsets, stride)
                inside = (rest == 0) & (places >= 0) & (places < extent)
            else:
                places = indices * stride + offsets
                inside = (places >= 0) & (places < extent)
            found.append((np.where(inside, places, 0), inside))
        return found


def read_window(node: ir.Node, kernel: Sequence[int]) -> Window | None:
    """Read the window of a convolution or a pool with these taps.

    None where an attribute is not known, since the caller of a function gives it, or is that of another rank.
    """
    rank = len(kernel)
    strides, dilations = _integers(node, "strides", rank, 1), _integers(node, "dilations", rank, 1)
    extra, pads = _integers(node, "output_padding", rank, 0), _integers(node, "pads", 2 * rank, 0)
    switches = [node.attributes.get(name) for name in ("auto_pad", "ceil_mode")]
    if strides is None or dilations is None or extra is None or pads is None:
        return None
    if any(attribute is not None and attribute.is_ref() for attribute in switches):
        return None
    mode, ceil = switches
    word = "NOTSET" if mode is None else mode.as_string()
    return Window(
        tuple(kernel),
        strides,
        dilations,
        stated_padding(node, rank),
        upper=word == "SAME_UPPER",
        is_same=word in ("SAME_UPPER", "SAME_LOWER"),
        ceils=ceil is not None and ceil.as_int() != 0,
        extra=extra,
    )


def _integers(node: ir.Node, name: str, count: int, default: int) -> tuple[int, ...] | None:
    """Return an attribute of so many integers; runtimes take an empty one for one that is left out."""
    attribute = node.attributes.get(name)
    if attribute is None:
        return (default,) * count
    if attribute.is_ref():
        return None
    found = tuple(attribute.as_ints()) or (default,) * count
    return found if len(found) == count else None
