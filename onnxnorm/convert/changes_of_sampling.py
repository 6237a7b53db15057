"""Changes of operators that sample and pool."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.convert.step import Step
from onnxnorm.graph.windows import read_window

__all__ = [
    "grid_sample_20",
    "pool_22",
    "resize_10",
    "resize_11",
    "resize_13",
    "resize_18",
    "roi_align_16",
    "upsample_10",
]

_ENLARGES = "was an Upsample"


def pool_22(step: Step) -> bool | str:
    """Pools since opset 22: a last window that would begin in the padding behind does not count.

    Where sizes are rounded up it counted in older definitions.
    """
    ceil = step.node.attributes.get("ceil_mode")
    if step.up or ceil is None or (not ceil.is_ref() and ceil.as_int() == 0):
        return True
    if any(attribute.is_ref() for attribute in step.node.attributes.values()):
        return False
    if step.word("auto_pad", "NOTSET").startswith("SAME"):
        return True
    window = read_window(step.node, step.wholes("kernel_shape", ()))
    if window is None or window.padding is None:
        return False
    shape = step.shape()
    for i, (length, stride, (before, behind)) in enumerate(
        zip(window.spans, window.strides, window.padding, strict=True)
    ):
        if behind + stride <= length:
            # The last window that is begun reaches over the end of the padding, so it begins before it.
            continue
        extent = None if shape is None else shape[2 + i]
        if not isinstance(extent, int):
            return "rounds up the number of its windows, of which the last may begin in the padding"
        if -(-(extent + before + behind - length) // stride) * stride >= extent + before:
            return "leaves out the window that begins in the padding, which it does since opset 22"
    return True


def upsample_10(step: Step) -> bool | str:
    """Upsample since opset 10: it is one of Resize's ways."""
    step.node.op_type = "Resize"
    if step.word("mode", "nearest") == "bilinear":
        step.node.attributes["mode"] = ir.AttrString("mode", "linear")
    step.notes.add(_ENLARGES)
    return True


def resize_10(step: Step) -> bool | str:
    """Resize since opset 10: before, there was Upsample, which only enlarges."""
    if not step.up:
        factors = step.known(1)
        if factors is None or not np.all(np.asarray(factors, np.float64) >= 1):
            return "reduces, or has scales that are no constants, which it does since opset 10"
        step.node.op_type = "Upsample"
    return True


def resize_11(step: Step) -> bool | str:
    """Resize since opset 11: before, samples lay from the first one on.

    The nearest was the one before where it enlarged, the one behind where it reduced.
    """
    node = step.node
    if not step.up:
        return _resize_without_modes(step)
    enlarges = _ENLARGES in step.notes
    scales = step.operand(1)
    nearest = step.word("mode", "nearest") == "nearest"
    if nearest and not enlarges:
        known = step.known(1)
        factors = None if known is None else np.asarray(known, np.float64)
        if factors is None or not (np.all(factors >= 1) or np.all(factors <= 1)):
            return "takes the nearest sample at scales that are not known, or both enlarges and reduces"
        enlarges = bool(np.all(factors >= 1))
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "asymmetric")
    if nearest:
        node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor" if enlarges else "ceil")
    node.resize_inputs(3)
    node.replace_input_with(2, scales)
    roi = None if step.opset >= 13 else step.constant(np.zeros(0), ir.DataType.FLOAT, "roi")
    node.replace_input_with(1, roi)
    return True


def _resize_without_modes(step: Step) -> bool | str:
    """Write a Resize in the words of opset 10, of which there was one for each mode."""
    node = step.node
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return False
    mode, places = step.word("mode", "nearest"), step.word("coordinate_transformation_mode", "half_pixel")
    if places != "asymmetric" or mode not in ("nearest", "linear") or step.whole("antialias", 0):
        return f"interpolates by {mode!r} with coordinates by {places!r}, which it does since opset 11"
    factors, scales = _factors(step), step.known(2)
    if mode == "nearest" and (factors is None or not _takes_the_usual(factors, step.word("nearest_mode", ""))):
        return "takes another nearest sample than before opset 11, or has scales that are no constants"
    if factors is not None:
        step.put(1, step.constant(factors, ir.DataType.FLOAT, "scales"))
    elif step.operand(2) is None or scales is not None:
        return "has sizes that are no constants, or that no scales give exactly"
    else:
        step.put(1, step.operand(2))
    step.cut(2)
    for name in node.attributes.keys() - {"mode"}:
        del node.attributes[name]
    return True


def _factors(step: Step) -> npt.NDArray[np.float32] | None:
    """Return the scales of a Resize since opset 11, as they are or as its sizes give them; None if not known."""
    scales, sizes, shape = step.known(2), step.known(3), step.shape()
    if scales is not None and scales.size:
        return np.asarray(scales, np.float32)
    if sizes is None or shape is None or len(shape) != sizes.size:
        return None
    extents = np.array([extent if isinstance(extent, int) else 0 for extent in shape], np.float64)
    if step.word("keep_aspect_ratio_policy", "stretch") != "stretch" or not extents.all():
        return None
    factors = np.asarray(np.asarray(sizes, np.float64) / extents, np.float32)
    return factors if np.array_equal(factors.astype(np.float64) * extents, sizes) else None


def _takes_the_usual(factors: npt.NDArray[np.float32], nearest: str) -> bool:
    """Whether the samples are those that Resize takes at opset 10: the one before, or where it reduces, behind."""
    mantissas = np.frexp(factors)[0]
    if np.all(factors >= 1):
        # At twice the extent the sample in the middle is nearer to none, and goes to the one before.
        return nearest == "floor" or (nearest in ("", "round_prefer_floor") and set(factors.tolist()) <= {1.0, 2.0})
    # Where every second or fourth sample is taken, each lies where one is.
    return bool(np.all(factors <= 1)) and (nearest == "ceil" or bool(np.all(mantissas == 0.5)))


def resize_13(step: Step) -> bool | str:
    """Resize since opset 13: before, an operand that is left out was an empty tensor."""
    if not step.up:
        for index, name in ((1, "roi"), (2, "scales")):
            if step.operand(index) is None:
                step.put(index, step.constant(np.zeros(0), ir.DataType.FLOAT, name))
    return True


def resize_18(step: Step) -> bool | str:
    """Resize since opset 18: until then scales and sizes were those of all axes."""
    axes = step.node.attributes.get("axes")
    if step.up or axes is None:
        return True
    shape = step.shape()
    if axes.is_ref() or shape is None or step.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    places = [n % len(shape) for n in axes.as_ints()]
    if places != list(range(len(shape))):
        roi, scales, sizes = (step.known(index) for index in (1, 2, 3))
        if step.operand(1) is not None and (roi is None or roi.size):
            return False
        if scales is not None and scales.size == len(places):
            every = np.ones(len(shape), np.float32)
            every[places] = scales
            step.put(2, step.constant(every, ir.DataType.FLOAT, "scales"))
        elif sizes is not None and all(isinstance(extent, int) for extent in shape):
            extents = np.array(shape, np.int64)
            extents[places] = sizes
            step.put(3, step.constant(extents, ir.DataType.INT64, "sizes"))
        else:
            return "has scales, sizes or other axes that are no constants"
    del step.node.attributes["axes"]
    return True


def roi_align_16(step: Step) -> bool | str:
    """RoiAlign since opset 16: it shifts its coordinates by half a pixel, unless told otherwise."""
    name = "coordinate_transformation_mode"
    if step.up:
        step.node.attributes[name] = ir.AttrString(name, "output_half_pixel")
        return True
    if step.word(name, "half_pixel") != "output_half_pixel":
        return "shifts its coordinates by half a pixel, which it does since opset 16"
    del step.node.attributes[name]
    return True


def grid_sample_20(step: Step) -> bool | str:
    """GridSample since opset 20: the modes bilinear and bicubic are called linear and cubic."""
    words = {"bilinear": "linear", "bicubic": "cubic"}
    renamed = words if step.up else {new: old for old, new in words.items()}
    given = step.node.attributes.get("mode")
    if given is not None and given.is_ref():
        return False
    word = ("bilinear" if step.up else "linear") if given is None else given.as_string()
    step.node.attributes["mode"] = ir.AttrString("mode", renamed.get(word, word))
    return True
