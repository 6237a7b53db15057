"""Translates the constants of local response normalization between frameworks.

The same four letters name different things. `LRNParameters` holds them in one convention, that of ONNX `LRN`; a named
constructor takes them from another convention and a `to_` method gives them back.

| source | window | what multiplies the sum of squares | bias |
|---|---|---|---|
| AlexNet's formula, "n" | n/2 back, n/2 ahead (n even: n + 1 wide) | alpha | k |
| ONNX, PyTorch, Caffe ACROSS_CHANNELS | size | alpha / size | bias or k |
| Caffe WITHIN_CHANNEL | size x size | alpha / size**2 | 1, whatever k says |
| TensorFlow | 2 * depth_radius + 1 | alpha | bias |
| MXNet | nsize, odd | alpha / nsize | knorm |
| OpenVINO | size along each of axes | alpha / size**len(axes) | bias |

An even size reaches further ahead in ONNX and further back in PyTorch.
"""

from __future__ import annotations

import enum
import math
import numbers
import operator
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onnxnorm.errors import OnnxNormError, OnnxNormWarning

__all__ = ["SOURCES", "LRNParameters", "LongerSide", "Region", "convert"]

_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


class Region(enum.Enum):
    """The region of a window: across channels at one position, or over positions within a channel."""

    INTER_CHANNEL = "inter-channel"
    INTRA_CHANNEL = "intra-channel"


class LongerSide(enum.Enum):
    """The side of an even window with the extra element: ahead of the centre (ONNX) or behind it (PyTorch)."""

    AHEAD = "ahead"
    BACK = "back"


def _size(value: Any, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise OnnxNormError(f"{name} must be a whole number, not {value!r}")
    if number < 1:
        raise OnnxNormError(f"{name} must be at least 1, not {number}")
    return number


def _constant(value: Any, name: str) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise OnnxNormError(f"{name} must be a number, not {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise OnnxNormError(f"{name} must be finite, not {number}")
    if abs(number) > _LARGEST_FLOAT32:
        raise OnnxNormError(f"{name} is {number:g}, more than the float32 of an ONNX attribute can hold")
    return number


@dataclass(frozen=True, kw_only=True)
class LRNParameters:
    """The constants of y = x / (bias + alpha / prod(kernel_shape) * S) ** beta, in ONNX's convention.

    S is the sum of x**2 over the window, cut at the border. kernel_shape: the window, one entry for inter-channel, one
    for each spatial axis for intra-channel. A window of n reaches floor((n-1)/2) back and ceil((n-1)/2) ahead, the
    other way round where `longer_side` is BACK. Source: ONNX operator specification, LRN-13.

    Raises `OnnxNormError` for a size below 1, a constant that is no finite number, and constants that make the base
    negative under a fractional power, or zero, at ordinary inputs. Warns (`OnnxNormWarning`, naming the parameter)
    where the formula still has a meaning but not at every input.
    """

    kernel_shape: tuple[int, ...]
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    region: Region = Region.INTER_CHANNEL
    longer_side: LongerSide = LongerSide.AHEAD

    def __post_init__(self) -> None:
        for field, values in (("region", Region), ("longer_side", LongerSide)):
            if not isinstance(getattr(self, field), values):
                raise OnnxNormError(f"{field} must be one of {[str(v) for v in values]}, not {getattr(self, field)!r}")
        inter = self.region is Region.INTER_CHANNEL
        name = "size" if inter else "each entry of kernel_shape"
        entries = self.kernel_shape
        if not isinstance(entries, Iterable) or isinstance(entries, str):
            raise OnnxNormError(f"kernel_shape must be a sequence of whole numbers, not {entries!r}")
        kernel_shape = tuple(_size(n, name) for n in entries)
        if inter and len(kernel_shape) != 1:
            raise OnnxNormError(f"an inter-channel window has one size, not {kernel_shape}")
        if not inter and not 1 <= len(kernel_shape) <= 3:
            raise OnnxNormError(f"an intra-channel window has 1 to 3 entries, not {kernel_shape}")
        if all(n % 2 for n in kernel_shape):
            object.__setattr__(self, "longer_side", LongerSide.AHEAD)
        elif not inter and self.longer_side is LongerSide.BACK:
            raise OnnxNormError("an even intra-channel window reaches further ahead; no framework mirrors it")
        object.__setattr__(self, "kernel_shape", kernel_shape)
        for field in ("alpha", "beta", "bias"):
            object.__setattr__(self, field, _constant(getattr(self, field), field))
        self._check_base()

    def _check_base(self) -> None:
        """Check the base, which is bias at an all-zero window and moves from there towards the sign of alpha."""
        fractional = not self.beta.is_integer()
        if self.beta > 0 and self.bias == 0 and self.alpha == 0:
            raise OnnxNormError("bias (k) and alpha are both 0: the formula divides by zero at every input")
        if fractional and self.bias < 0:
            raise OnnxNormError(
                f"bias (k) is {self.bias:g}: the base is negative at small inputs and beta = {self.beta:g} is no whole "
                "number, so the result is not a number; give a bias of 0 or more"
            )
        if fractional and self.bias == 0 and self.alpha < 0:
            raise OnnxNormError(f"bias (k) is 0 and alpha is {self.alpha:g}: the base is never positive")
        if self.beta > 0 and self.bias == 0:
            _warn("bias (k) is 0: where all of a window is zero the formula gives 0/0, which is NaN")
        elif self.bias < 0 and self.beta != 0:
            _warn(f"bias (k) is {self.bias:g}: the base can be zero or negative")
        if self.alpha < 0 and self.beta != 0:
            _warn(f"alpha is {self.alpha:g}: the base is zero or negative where the inputs are large")

    @property
    def size(self) -> int:
        """The window of an inter-channel normalization, in channels; an `OnnxNormError` for an intra-channel one."""
        if self.region is not Region.INTER_CHANNEL:
            raise OnnxNormError("an intra-channel normalization has a kernel_shape, not a size")
        return self.kernel_shape[0]

    @classmethod
    def from_alexnet(
        cls,
        n: int,
        k: float,
        alpha: float,
        beta: float,
        *,
        region: Region = Region.INTER_CHANNEL,
        spatial_axes: int = 2,
    ) -> LRNParameters:
        """Make parameters from AlexNet's formula, x / (k + alpha * S) ** beta.

        S goes over n/2, rounded down, back and ahead.

        Within a channel the window is that wide along each of `spatial_axes` axes. Raises `OnnxNormError` as the class
        does. Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks" (2012), section 3.3.
        """
        axes = 1 if region is Region.INTER_CHANNEL else _size(spatial_axes, "spatial_axes")
        width = 2 * (_size(n, "n") // 2) + 1
        return cls(
            kernel_shape=(width,) * axes,
            alpha=_constant(alpha, "alpha") * width**axes,
            beta=beta,
            bias=_constant(k, "k"),
            region=region,
        )

    @classmethod
    def from_caffe(
        cls,
        local_size: int = 5,
        alpha: float = 1.0,
        beta: float = 0.75,
        k: float = 1.0,
        norm_region: str = "ACROSS_CHANNELS",
    ) -> LRNParameters:
        """Make parameters from Caffe's `lrn_param`.

        `norm_region` is "ACROSS_CHANNELS" or "WITHIN_CHANNEL" (two spatial axes).

        Caffe takes odd sizes only (`OnnxNormError` for others), and within a channel it adds 1 and ignores k: another k
        is a warning. Source: BVLC/caffe, src/caffe/layers/lrn_layer.cpp.
        """
        size = _size(local_size, "local_size")
        if size % 2 == 0:
            raise OnnxNormError(f"local_size is {size}: Caffe's LRN takes odd sizes only")
        if norm_region == "ACROSS_CHANNELS":
            return cls(kernel_shape=(size,), alpha=alpha, beta=beta, bias=_constant(k, "k"))
        if norm_region != "WITHIN_CHANNEL":
            raise OnnxNormError(f'norm_region must be "ACROSS_CHANNELS" or "WITHIN_CHANNEL", not {norm_region!r}')
        if _constant(k, "k") != 1:
            _warn(f"k is {k:g}, which Caffe ignores within a channel: 1 is used, as Caffe does")
        return cls(kernel_shape=(size, size), alpha=alpha, beta=beta, region=Region.INTRA_CHANNEL)

    @classmethod
    def from_tensorflow(
        cls, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
    ) -> LRNParameters:
        """Make parameters from `tf.nn.local_response_normalization`, x / (bias + alpha * S) ** beta.

        S goes over `depth_radius` channels to each side. TensorFlow normalizes along the last axis, ONNX along axis 1;
        the tensor is the caller's to transpose. Raises `OnnxNormError` as the class does. Source: the function's
        documentation.
        """
        radius = depth_radius if depth_radius == 0 else _size(depth_radius, "depth_radius")
        width = 2 * radius + 1
        return cls(kernel_shape=(width,), alpha=_constant(alpha, "alpha") * width, beta=beta, bias=bias)

    @classmethod
    def from_onnx(cls, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> LRNParameters:
        """Make parameters from the attributes of ONNX `LRN`; `OnnxNormError` as the class raises it."""
        return cls(kernel_shape=(size,), alpha=alpha, beta=beta, bias=bias)

    @classmethod
    def from_torch(cls, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> LRNParameters:
        """Make parameters from `torch.nn.LocalResponseNorm`, whose even window is the mirror image of ONNX's.

        Raises `OnnxNormError` as the class does. Source: the documentation of the PyTorch layer.
        """
        return cls(kernel_shape=(size,), alpha=alpha, beta=beta, bias=_constant(k, "k"), longer_side=LongerSide.BACK)

    @classmethod
    def from_mxnet(cls, nsize: int, alpha: float = 1e-4, beta: float = 0.75, knorm: float = 2.0) -> LRNParameters:
        """Make parameters from MXNet's `LRN`, x / (knorm + alpha / nsize * S) ** beta.

        nsize is odd, else `OnnxNormError`. Source: apache/mxnet, src/operator/nn/lrn-inl.h.
        """
        size = _size(nsize, "nsize")
        if size % 2 == 0:
            raise OnnxNormError(f"nsize is {size}: MXNet's LRN takes odd sizes only")
        return cls(kernel_shape=(size,), alpha=alpha, beta=beta, bias=_constant(knorm, "knorm"))

    @classmethod
    def from_openvino(
        cls, size: int, alpha: float, beta: float, bias: float, axes: Iterable[int] = (1,)
    ) -> LRNParameters:
        """Make parameters from OpenVINO's `LRN-1`, x / (bias + alpha / size ** len(axes) * S) ** beta.

        S goes along all of `axes`.

        `axes` are (1,) for windows across channels, or all spatial axes (2, ...), else `OnnxNormError`. Its
        documentation reaches size / 2 to both sides, so that an even size has no window of that many: it is refused.
        Source: OpenVINO operation specification, LRN-1.
        """
        width = _size(size, "size")
        if width % 2 == 0:
            raise OnnxNormError(
                f"size is {width}: OpenVINO's LRN reaches as far to both sides, so the size must be odd"
            )
        along = tuple(sorted(operator.index(axis) for axis in axes))
        if along != (1,) and along != tuple(range(2, 2 + len(along))):
            raise OnnxNormError(f"axes must be (1,) or all spatial axes, (2, 3) for pictures, not {along}")
        region = Region.INTER_CHANNEL if along == (1,) else Region.INTRA_CHANNEL
        return cls(kernel_shape=(width,) * len(along), alpha=alpha, beta=beta, bias=bias, region=region)

    def to_alexnet(self) -> dict[str, int | float]:
        """Return n, k, alpha and beta of AlexNet's formula.

        `OnnxNormError` for a window that does not reach equally far.
        """
        width = self._odd_width("AlexNet's formula")
        return {"n": width, "k": self.bias, "alpha": self.alpha / self._count, "beta": self.beta}

    def to_caffe(self) -> dict[str, int | float | str]:
        """Return the fields of Caffe's `lrn_param`.

        Raises `OnnxNormError` for even sizes, and within a channel for a window that is not square or a bias other than
        1.
        """
        width = self._odd_width("Caffe")
        values: dict[str, int | float | str] = {"local_size": width, "alpha": self.alpha, "beta": self.beta}
        if self.region is Region.INTER_CHANNEL:
            return {**values, "k": self.bias, "norm_region": "ACROSS_CHANNELS"}
        if len(self.kernel_shape) != 2 or self.bias != 1:
            raise OnnxNormError("Caffe's WITHIN_CHANNEL has two spatial axes and always a bias of 1")
        return {**values, "norm_region": "WITHIN_CHANNEL"}

    def to_tensorflow(self) -> dict[str, int | float]:
        """Return depth_radius, bias, alpha and beta of TensorFlow's function.

        Raises `OnnxNormError` where the window is intra-channel or even.
        """
        radius = self.size // 2
        self._odd_width("TensorFlow")
        return {"depth_radius": radius, "bias": self.bias, "alpha": self.alpha / self._count, "beta": self.beta}

    def to_onnx(self) -> dict[str, int | float]:
        """Return the attributes of ONNX `LRN`; `OnnxNormError` for an intra-channel or a mirrored even window."""
        if self.longer_side is LongerSide.BACK:
            raise OnnxNormError(
                f"an even size of {self.size} that reaches further back is no ONNX LRN: flip the channels"
            )
        return {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}

    def to_torch(self) -> dict[str, int | float]:
        """Return the arguments of `torch.nn.LocalResponseNorm`.

        Raises `OnnxNormError` for an intra-channel window, or an even one that reaches further ahead, as ONNX has it.
        """
        if self.size % 2 == 0 and self.longer_side is LongerSide.AHEAD:
            raise OnnxNormError(
                f"an even size of {self.size} that reaches further ahead is no PyTorch layer: flip the channels"
            )
        return {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.bias}

    def to_mxnet(self) -> dict[str, int | float]:
        """Return the parameters of MXNet's `LRN`; `OnnxNormError` where the window is intra-channel or even."""
        size = self.size
        self._odd_width("MXNet")
        return {"nsize": size, "alpha": self.alpha, "beta": self.beta, "knorm": self.bias}

    def to_openvino(self) -> dict[str, int | float | tuple[int, ...]]:
        """Return the attributes and axes of OpenVINO's `LRN-1`; `OnnxNormError` unless one odd size serves all axes."""
        width = self._odd_width("OpenVINO")
        axes = (1,) if self.region is Region.INTER_CHANNEL else tuple(range(2, 2 + len(self.kernel_shape)))
        return {"size": width, "alpha": self.alpha, "beta": self.beta, "bias": self.bias, "axes": axes}

    @property
    def _count(self) -> int:
        return math.prod(self.kernel_shape)

    def _odd_width(self, target: str) -> int:
        width = self.kernel_shape[0]
        if width % 2 == 0 or len(set(self.kernel_shape)) != 1:
            raise OnnxNormError(f"{target} has no window of {self.kernel_shape}: it takes one odd size for all axes")
        return width


SOURCES: tuple[str, ...] = ("alexnet", "caffe", "mxnet", "onnx", "openvino", "tensorflow", "torch")
"""The conventions that `convert` knows."""


def convert(params: Mapping[str, Any], source: str, to: str) -> dict[str, Any]:
    """Convert the constants of one framework to those of another.

    Args:
        params: by the names that `source` gives them, such as {"depth_radius": 2, "bias": 1.0, "alpha": 1e-4,
            "beta": 0.75}; what is left out has that framework's default.
        source, to: names in `SOURCES`.

    Returns:
        what `to` means by the same formula, by its own names.

    Raises:
        OnnxNormError: a name is unknown, a constant is no valid one, or `to` has no such window: an even one of PyTorch
            reaches further back, one of ONNX further ahead, and all others take odd ones alone.
    """
    for name in (source, to):
        if name not in SOURCES:
            raise OnnxNormError(f"there is no convention {name!r}; there are: {', '.join(SOURCES)}")
    try:
        read = getattr(LRNParameters, f"from_{source}")(**params)
    except TypeError as error:
        raise OnnxNormError(f"{source} has no such constants: {error}") from None
    if to != "caffe" and to not in ("alexnet", "openvino") and read.region is Region.INTRA_CHANNEL:
        raise OnnxNormError(f"{to} has no normalization over a window within a channel")
    result: dict[str, Any] = getattr(read, f"to_{to}")()
    return result


def _warn(message: str) -> None:
    """Warn at the line outside this package that gave the parameters."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "onnxnorm":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, OnnxNormWarning, stacklevel=level)
