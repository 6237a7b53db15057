"""Torch modules and inputs with random values that are always the same."""

from __future__ import annotations

import torch

__all__ = ["random", "randomized"]


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomized(module, seed=0):
    """Parameters and statistics that are not trivial, weights of both signs; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if name.endswith("running_var"):
                tensor.uniform_(0.2, 3, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(generator=generator)
    return module.eval()
