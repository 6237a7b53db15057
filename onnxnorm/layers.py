"""Normalization layers that PyTorch does not have, as modules that train and that `onnxnorm.export` writes as one node.

`InterChannelLRN` and `IntraChannelLRN` have no parameters; `PerActivationBatchNorm` has the parameters and buffers of
`torch.nn.BatchNorm2d` with one entry for each position of a sample. Gradients come from autograd. Float, double and the
half types are taken; the half types are computed in float32 and rounded once.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxnorm.errors import OnnxNormError
from onnxnorm.lrn import LongerSide, LRNParameters, Region

try:
    import torch
except ImportError as error:
    raise OnnxNormError('onnxnorm.layers needs PyTorch: pip install "onnxnorm[torch]"') from error

import torch.nn.functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["InterChannelLRN", "IntraChannelLRN", "PerActivationBatchNorm", "local_response_norm"]

_HALF_TYPES = (torch.float16, torch.bfloat16)


def local_response_norm(x: torch.Tensor, parameters: LRNParameters) -> torch.Tensor:
    """Compute x / (bias + alpha / prod(kernel_shape) * S) ** beta.

    S is the sum of x**2 over the window, cut at the border.

    x: shape (N, C, ...), of rank 2 or more for an inter-channel window, of rank len(kernel_shape) + 2 for an
    intra-channel one; floating point. Returns a tensor of the same shape and type. Raises `OnnxNormError` for another
    rank or type. `torch.overrides` sees one call of this function. Source: ONNX operator specification, LRN-13.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(local_response_norm, (x,), x, parameters)
    check_input(x, parameters)
    values = x.float() if x.dtype in _HALF_TYPES else x
    means = _channel_means if parameters.region is Region.INTER_CHANNEL else _spatial_means
    base = parameters.bias + parameters.alpha * means(values * values, parameters)
    return (values / base.pow(parameters.beta)).to(x.dtype)


def check_input(x: torch.Tensor, parameters: LRNParameters) -> None:
    """Raise `OnnxNormError` for a tensor of another rank or type than the parameters take."""
    if not x.is_floating_point():
        raise OnnxNormError(f"local response normalization takes floating point tensors, not {x.dtype}")
    if parameters.region is Region.INTER_CHANNEL:
        if x.ndim < 2:
            raise OnnxNormError(
                f"InterChannelLRN takes tensors of rank 2 or more (N, C, ...), not shape {tuple(x.shape)}"
            )
    elif x.ndim != len(parameters.kernel_shape) + 2:
        raise OnnxNormError(
            f"IntraChannelLRN with kernel_shape {parameters.kernel_shape} takes tensors of rank "
            f"{len(parameters.kernel_shape) + 2}, not shape {tuple(x.shape)}"
        )


def _reach(n: int) -> tuple[int, int]:
    return (n - 1) // 2, n // 2


def _channel_means(squares: torch.Tensor, parameters: LRNParameters) -> torch.Tensor:
    size = parameters.size
    back, ahead = _reach(size) if parameters.longer_side is LongerSide.AHEAD else _reach(size)[::-1]
    rows = squares.reshape(squares.shape[0], 1, squares.shape[1], math.prod(squares.shape[2:]))
    return F.avg_pool2d(F.pad(rows, (0, 0, back, ahead)), (size, 1), stride=1).reshape(squares.shape)


def _spatial_means(squares: torch.Tensor, parameters: LRNParameters) -> torch.Tensor:
    kernel = parameters.kernel_shape
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    padding = [side for n in reversed(kernel) for side in _reach(n)]
    return pool(F.pad(squares, padding), kernel, stride=1)


class _LRN(torch.nn.Module):
    """The parts that both regions share; `lrn` holds the parameters in ONNX's convention."""

    lrn: LRNParameters

    @classmethod
    def _of(cls, lrn: LRNParameters) -> Self:
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer.lrn = lrn
        return layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x, floating point; return a tensor of the same shape and type, or raise `OnnxNormError`."""
        return local_response_norm(x, self.lrn)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Return the module that `torch.jit.script` compiles in the place of this one."""
        return _ScriptableLRN(self.lrn)

    def _constants(self) -> str:
        return f"alpha={self.lrn.alpha:g}, beta={self.lrn.beta:g}, bias={self.lrn.bias:g}"


class _ScriptableLRN(torch.nn.Module):
    """The same computation in the part of Python that TorchScript knows; wrong tensors raise its own errors."""

    def __init__(self, lrn: LRNParameters) -> None:
        super().__init__()
        self.across = lrn.region is Region.INTER_CHANNEL
        self.kernel = [lrn.size] if self.across else list(lrn.kernel_shape)
        self.padding = [side for n in reversed(self.kernel) for side in _reach(n)]
        if lrn.longer_side is LongerSide.BACK:
            self.padding.reverse()
        self.alpha, self.beta, self.bias = lrn.alpha, lrn.beta, lrn.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x as the layer does."""
        is_half = x.dtype == torch.float16 or x.dtype == torch.bfloat16
        values = x.float() if is_half else x
        squares = values * values
        if self.across:
            assert x.dim() >= 2, "InterChannelLRN takes tensors of rank 2 or more (N, C, ...)"
            positions = 1
            for extent in x.shape[2:]:
                positions *= extent
            rows = F.pad(squares.reshape([x.shape[0], 1, x.shape[1], positions]), [0, 0] + self.padding)  # noqa: RUF005
            means = F.avg_pool2d(rows, [self.kernel[0], 1], stride=[1]).reshape(x.shape)
        else:
            assert x.dim() == len(self.kernel) + 2, "IntraChannelLRN takes tensors of the rank of its window plus 2"
            padded = F.pad(squares, self.padding)
            if len(self.kernel) == 1:
                means = F.avg_pool1d(padded, self.kernel, stride=[1])
            elif len(self.kernel) == 2:
                means = F.avg_pool2d(padded, self.kernel, stride=[1])
            else:
                means = F.avg_pool3d(padded, self.kernel, stride=[1])
        return (values / (self.bias + self.alpha * means).pow(self.beta)).to(x.dtype)


class InterChannelLRN(_LRN):
    """Local response normalization across channels, as ONNX `LRN` has it, for tensors (N, C, ...) of rank >= 2.

    y = x / (bias + alpha / size * S) ** beta; the window reaches floor((size-1)/2) channels back and ceil((size-1)/2)
    ahead. The named constructors take other conventions, with the defaults of their frameworks; `from_torch` with an
    even size gives the mirrored window. Raises `OnnxNormError` for bad parameters, see `onnxnorm.lrn.LRNParameters`.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> None:
        super().__init__()
        self.lrn = LRNParameters.from_onnx(size, alpha, beta, bias)

    @classmethod
    def from_alexnet(cls, n: int, k: float, alpha: float, beta: float) -> Self:
        """Make a layer by the paper's formula: n // 2 channels back and ahead, alpha multiplies the sum itself.

        Raises `OnnxNormError` for bad parameters. Source: see `onnxnorm.lrn.LRNParameters.from_alexnet`.
        """
        return cls._of(LRNParameters.from_alexnet(n, k, alpha, beta))

    @classmethod
    def from_caffe(cls, local_size: int = 5, alpha: float = 1.0, beta: float = 0.75, k: float = 1.0) -> Self:
        """Make a layer from Caffe's `lrn_param` with norm_region ACROSS_CHANNELS.

        `local_size` is odd, else `OnnxNormError`.
        """
        return cls._of(LRNParameters.from_caffe(local_size, alpha, beta, k))

    @classmethod
    def from_tensorflow(cls, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5) -> Self:
        """Make a layer from the arguments of `tf.nn.local_response_normalization`, on channels first.

        Raises `OnnxNormError` for bad parameters. Source: see `onnxnorm.lrn.LRNParameters.from_tensorflow`.
        """
        return cls._of(LRNParameters.from_tensorflow(depth_radius, bias, alpha, beta))

    @classmethod
    def from_onnx(cls, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Self:
        """Make a layer from the attributes of ONNX `LRN`, as the constructor does; `OnnxNormError` for bad ones."""
        return cls._of(LRNParameters.from_onnx(size, alpha, beta, bias))

    @classmethod
    def from_torch(cls, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Self:
        """Make a layer from the arguments of `torch.nn.LocalResponseNorm`; `OnnxNormError` for bad ones."""
        return cls._of(LRNParameters.from_torch(size, alpha, beta, k))

    def extra_repr(self) -> str:
        """Return the size and the constants, as PyTorch prints them in a module."""
        side = ", longer_side=BACK" if self.lrn.longer_side is LongerSide.BACK else ""
        return f"{self.lrn.size}, {self._constants()}{side}"


class IntraChannelLRN(_LRN):
    """Local response normalization over a spatial window within each channel, for tensors (N, C, D1[, D2[, D3]]).

    y = x / (bias + alpha / prod(kernel_shape) * S) ** beta; along each axis a window of n reaches floor((n-1)/2) back
    and ceil((n-1)/2) ahead, is cut at the border, and the divisor stays. kernel_shape has k entries; one number n means
    the square window (n, n). Raises `OnnxNormError` for bad parameters, see `onnxnorm.lrn.LRNParameters`.
    """

    def __init__(
        self, kernel_shape: int | Sequence[int], alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
    ) -> None:
        super().__init__()
        if isinstance(kernel_shape, numbers.Integral) and not isinstance(kernel_shape, bool):
            kernel_shape = (int(kernel_shape), int(kernel_shape))
        self.lrn = LRNParameters(
            kernel_shape=kernel_shape,  # type: ignore[arg-type]  # any sequence becomes a tuple
            alpha=alpha,
            beta=beta,
            bias=bias,
            region=Region.INTRA_CHANNEL,
        )

    @classmethod
    def from_alexnet(cls, n: int, k: float, alpha: float, beta: float, *, spatial_axes: int = 2) -> Self:
        """Make a layer by the paper's formula over positions.

        The window reaches n // 2 back and ahead along each axis, and alpha multiplies the sum itself.

        Raises `OnnxNormError` for bad parameters. Source: see `onnxnorm.lrn.LRNParameters.from_alexnet`.
        """
        region = Region.INTRA_CHANNEL
        return cls._of(LRNParameters.from_alexnet(n, k, alpha, beta, region=region, spatial_axes=spatial_axes))

    @classmethod
    def from_caffe(cls, local_size: int = 5, alpha: float = 1.0, beta: float = 0.75) -> Self:
        """Make a layer from Caffe's `lrn_param` with norm_region WITHIN_CHANNEL, which has no k: Caffe adds 1.

        Raises `OnnxNormError` for bad parameters, such as an even size. Source: see
        `onnxnorm.lrn.LRNParameters.from_caffe`.
        """
        return cls._of(LRNParameters.from_caffe(local_size, alpha, beta, norm_region="WITHIN_CHANNEL"))

    def extra_repr(self) -> str:
        """Return the window and the constants, as PyTorch prints them in a module."""
        return f"{self.lrn.kernel_shape}, {self._constants()}"


class PerActivationBatchNorm(torch.nn.Module):
    """Batch normalization with statistics, weight and bias for each position of a sample, taken over the batch alone.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, for x of shape (N, *shape). In training the statistics are
    those of the batch (at least two samples) and the running ones are updated, the variance with divisor N - 1, as
    PyTorch's layers do; in evaluation the running ones are used. `momentum=None` averages all batches.

    shape: the shape of one sample, such as (C, H, W). Source: Ioffe and Szegedy, "Batch Normalization" (2015),
    algorithm 1; ONNX BatchNormalization-7 with spatial = 0. Raises `OnnxNormError` for a bad shape, eps or momentum.
    """

    # TorchScript reads the annotations of a class, and knows none that are texts.
    if TYPE_CHECKING:
        weight: torch.nn.Parameter | None
        bias: torch.nn.Parameter | None
        running_mean: torch.Tensor | None
        running_var: torch.Tensor | None
        num_batches_tracked: torch.Tensor | None

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        entries = (shape,) if isinstance(shape, numbers.Integral) else shape
        if not isinstance(entries, Sequence) or not entries or not all(_is_size(n) for n in entries):
            raise OnnxNormError(
                f"shape must be one or more whole numbers of at least 1, such as (C, H, W), not {shape!r}"
            )
        if not _is_finite(eps) or eps < 0:
            raise OnnxNormError(f"eps must be a finite number of 0 or more, not {eps!r}")
        if momentum is not None and not _is_finite(momentum):
            raise OnnxNormError(f"momentum must be None or a finite number, not {momentum!r}")
        self.shape = tuple(int(n) for n in entries)
        self.eps = float(eps)
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in ("weight", "bias"):
            self.register_parameter(name, torch.nn.Parameter(torch.empty(self.shape, **options)) if affine else None)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(self.shape, **options) if track_running_stats else None)
        count = torch.tensor(0, dtype=torch.long, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget all batches; weight 1, bias 0."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            torch.nn.init.ones_(self.weight)
            torch.nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x of shape (N, *shape), keeping shape and type; other shapes raise `OnnxNormError`."""
        # Written in the part of Python that TorchScript knows.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            assert list(x.shape[1:]) == list(self.shape), "PerActivationBatchNorm takes tensors (N, *shape)"
        else:
            self._check(x)
        tracked = self.num_batches_tracked
        mean, variance, weight, bias = self.running_mean, self.running_var, self.weight, self.bias
        track = self.training and self.track_running_stats
        average = 0.0 if self.momentum is None else self.momentum
        if track and tracked is not None:
            tracked.add_(1)
            if self.momentum is None:
                average = 1.0 / float(tracked)
        flat_mean = None if mean is None else mean.flatten()
        flat_variance = None if variance is None else variance.flatten()
        y = F.batch_norm(
            x.flatten(1),
            flat_mean,
            flat_variance,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self.training or not self.track_running_stats,
            average,
            self.eps,
        )
        if track and mean is not None and flat_mean is not None and not mean.is_contiguous():
            # Where a buffer is not contiguous, flatten() copied it.
            mean.copy_(flat_mean.view(mean.shape))
        if track and variance is not None and flat_variance is not None and not variance.is_contiguous():
            variance.copy_(flat_variance.view(variance.shape))
        return y.reshape(x.shape)

    def _check(self, x: torch.Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise OnnxNormError(
                f"PerActivationBatchNorm of shape {self.shape} takes tensors (N, {', '.join(map(str, self.shape))}), "
                f"not shape {tuple(x.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the shape and the settings, as PyTorch prints them in a module."""
        return (
            f"{self.shape}, eps={self.eps:g}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


def _is_size(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1


def _is_finite(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
