"""Seeded random weights that look like a trained network's to everything that folds normalizations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from onnxnorm.layers import PerActivationBatchNorm

NORMALIZATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, PerActivationBatchNorm)


def randomize(network: nn.Module, *, gain: float = math.sqrt(2), seed: int = 0) -> nn.Module:
    """Draws every parameter and statistic of `network` anew and returns it.

    Convolutions and linear layers: normal weights of deviation gain / sqrt(fan in) (sqrt(2) is He et al. 2015), biases
    about 0.1. Normalizations: scales of magnitude 0.5 to 1.5, a quarter of them negative; shifts about 0.25; running
    means about 0.5; running variances 0.25 to 4, uniform in their logarithm. Other parameters: about 0.1.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, deviation: float) -> None:
        tensor.normal_(0.0, deviation, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
            is_normalization = isinstance(module, NORMALIZATIONS)
            for name, tensor in own.items():
                if not tensor.is_floating_point():
                    continue
                if name == "running_var":
                    tensor.uniform_(math.log(0.25), math.log(4.0), generator=generator).exp_()
                elif name == "running_mean":
                    normal(tensor, 0.5)
                elif is_normalization and name == "weight":
                    tensor.uniform_(0.5, 1.5, generator=generator)
                    tensor[torch.rand(tensor.shape, generator=generator) < 0.25] *= -1
                elif is_normalization:
                    normal(tensor, 0.25)
                elif name == "weight":
                    normal(tensor, gain / math.sqrt(_fan_in(module)))
                else:
                    normal(tensor, 0.1)
    return network


def _fan_in(module: nn.Module) -> float:
    """How many products are summed into one output of a convolution or linear layer."""
    weight = module.get_parameter("weight")
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return weight.shape[0] / module.groups * weight[0, 0].numel() / math.prod(module.stride)
    return weight[0].numel()
