"""Sliding windows: where each tap of a convolution or pool lies on its input, for every place of the output."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onnxnorm.affine.interface import Declined, Site
from onnxnorm.graph.facts import Dim
from onnxnorm.journal.reasons import Code

__all__ = ["Window", "static_space", "window_of"]


@dataclass(frozen=True, eq=False)
class Window:
    """The geometry of a window, as the attributes of the node give it.

    Attributes:
        kernel, strides, dilations: for each spatial axis.
        begins, ends: zeros around the input; None where `auto_pad` makes them depend on the extents.
        ceils: whether the number of results is rounded up.
        extra: what a transposed convolution adds at the end.
        extents, results: of the input and the output, once the window is placed.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...] | None
    ends: tuple[int, ...] | None
    auto_pad: str = "NOTSET"
    ceils: bool = False
    extra: tuple[int, ...] = ()
    # Known once it is placed between an input and an output.
    extents: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    transposed: bool = False

    @property
    def pads(self) -> bool:
        """Whether a window may reach beyond the input."""
        if self.begins is None or self.ends is None:
            return any(extent > 1 for extent in self.kernel)
        return any(self.begins) or any(self.ends) or self.ceils

    def placed(self, extents: tuple[int, ...], results: tuple[int, ...], *, transposed: bool = False) -> Window | None:
        """Place the window between an input and an output of these extents; None where those do not fit together."""
        begins, ends = [], []
        for axis, (extent, result) in enumerate(zip(extents, results, strict=True)):
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            stride = self.strides[axis]
            if self.begins is None or self.ends is None:
                if transposed or result != -(-extent // stride):
                    return None
                missing = max(0, (result - 1) * stride + reach - extent)
                small, large = missing // 2, missing - missing // 2
                begin, end = (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)
            else:
                begin, end = self.begins[axis], self.ends[axis]
                if transposed:
                    counted = stride * (extent - 1) + self.extra[axis] + reach - begin - end
                else:
                    counted = (extent + begin + end - reach) // stride + 1
                if counted != result or begin < 0 or end < 0:
                    return None
            begins.append(begin)
            ends.append(end)
        return replace(
            self, begins=tuple(begins), ends=tuple(ends), extents=extents, results=results, transposed=transposed
        )

    @property
    def sources(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """The places of the input that are read, for each axis: indices (taps, results), and whether they exist."""
        assert self.begins is not None
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


def window_of(site: Site, kernel: tuple[int, ...] | None = None) -> Window | Declined:
    """Read the window of a convolution (its kernel is the weight's) or of a pool (its kernel is an attribute)."""
    if kernel is None:
        shape = (site.shape_in(1) or ())[2:]
        if not shape or not all(isinstance(extent, int) for extent in shape):
            return Declined("has a weight whose shape is not known", code=Code.UNKNOWN_SHAPE)
        kernel = tuple(int(extent or 0) for extent in shape)
    count = len(kernel)
    ones, zeros = (1,) * count, (0,) * count
    auto_pad = site.text("auto_pad", "NOTSET")
    pads: tuple[int, ...] | None = site.integers("pads") or zeros * 2
    if auto_pad in ("SAME_UPPER", "SAME_LOWER") or site.integers("output_shape") is not None:
        pads = None
    elif auto_pad == "VALID":
        pads = zeros * 2
    return Window(
        kernel,
        site.integers("strides") or ones,
        site.integers("dilations") or ones,
        None if pads is None else pads[:count],
        None if pads is None else pads[count:],
        auto_pad,
        bool(site.integer("ceil_mode", 0)),
        site.integers("output_padding") or zeros,
    )


def static_space(shape: tuple[Dim, ...] | None, rank: int) -> tuple[int, ...] | None:
    """Return the extents behind batch and channels; None where one is not known."""
    if shape is None or len(shape) != rank or not all(isinstance(extent, int) for extent in shape[2:]):
        return None
    return tuple(int(extent or 0) for extent in shape[2:])
