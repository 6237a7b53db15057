"""What the papers on structural re-parameterization compute from a trained block: one convolution, from its weights.

Blocks that can be collapsed have a method `collapsed`; `collapse` gives a network of collapsed blocks. This is the
yardstick for the same done to the exported file. Kernels are (outputs, inputs / groups, height, width), in float64 as
long as they are computed with.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Kernel", "centered", "collapse", "conv_norm", "convolution", "fused", "identity", "scaled"]

Kernel = tuple[Tensor, Tensor]
"""A kernel and a bias (outputs,)."""


def conv_norm(inputs: int, outputs: int, kernel: Any = 1, stride: int = 1, padding: Any = 0, groups: int = 1) -> Any:
    """A convolution without bias, and the BatchNorm behind it."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def scaled(kernel: Kernel, norm: nn.BatchNorm2d) -> Kernel:
    """The kernel with `norm` behind it: gamma / sigma * (W * x + b - mean) + beta (Ding et al. 2021, RepVGG, eq. 3)."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    weight, bias = kernel
    return weight * scale[:, None, None, None], (bias - mean.double()) * scale + norm.bias.double()


def fused(branch: nn.Sequential) -> Kernel:
    """A `conv_norm` as one convolution."""
    convolution, norm = branch
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    bias = torch.zeros(len(convolution.weight)) if convolution.bias is None else convolution.bias
    return scaled((convolution.weight.double(), bias.double()), norm)


def identity(channels: int, groups: int) -> Kernel:
    """The 1 x 1 kernel that changes nothing."""
    width = channels // groups
    weight = torch.eye(width, dtype=torch.float64).repeat(groups, 1)[:, :, None, None]
    return weight, torch.zeros(channels, dtype=torch.float64)


def centered(kernel: Kernel, size: int) -> Kernel:
    """The kernel in the middle of a larger one of zeros."""
    weight, bias = kernel
    rows, columns = ((size - extent) // 2 for extent in weight.shape[2:])
    return nn.functional.pad(weight, (columns, columns, rows, rows)), bias


def convolution(kernels: list[Kernel], stride: int, padding: int, groups: int) -> nn.Conv2d:
    """The sum of kernels of one size as a convolution, rounded once."""
    weight = torch.stack([weight for weight, _ in kernels]).sum(0)
    bias = torch.stack([bias for _, bias in kernels]).sum(0)
    outputs, width, *extents = weight.shape
    result = nn.Conv2d(width * groups, outputs, tuple(extents), stride, padding, groups=groups)
    with torch.no_grad():
        result.weight.copy_(weight)
        assert result.bias is not None
        result.bias.copy_(bias)
    return result


def collapse(network: nn.Module) -> nn.Module:
    """A copy of the network in which every block that can be collapsed is."""
    if hasattr(network, "collapsed"):
        with torch.no_grad():
            result = network.collapsed()
        assert isinstance(result, nn.Module)
        return result.train(network.training)
    own = copy.copy(network)
    own._modules = {name: None if part is None else collapse(part) for name, part in network._modules.items()}
    return own
