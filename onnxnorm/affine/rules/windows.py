"""Windows of the nodes that rules look at."""

from __future__ import annotations

from onnxnorm.affine.interface import Declined, Site
from onnxnorm.graph.facts import Dim
from onnxnorm.graph.windows import Window, read_window
from onnxnorm.journal.reasons import Code

__all__ = ["static_space", "window_of"]


def window_of(site: Site, kernel: tuple[int, ...] | None = None) -> Window | Declined:
    """Read the window of a convolution (its kernel is the weight's) or of a pool (its kernel is an attribute)."""
    if kernel is None:
        shape = (site.shape_in(1) or ())[2:]
        if not shape or not all(isinstance(extent, int) for extent in shape):
            return Declined("has a weight whose shape is not known", code=Code.UNKNOWN_SHAPE)
        kernel = tuple(int(extent or 0) for extent in shape)
    window = read_window(site.node, kernel)
    return Declined("has attributes of another rank than its window", code=Code.UNDEFINED) if window is None else window


def static_space(shape: tuple[Dim, ...] | None, rank: int) -> tuple[int, ...] | None:
    """Return the extents behind batch and channels; None where one is not known."""
    if shape is None or len(shape) != rank or not all(isinstance(extent, int) for extent in shape[2:]):
        return None
    return tuple(int(extent or 0) for extent in shape[2:])
