"""Makes weights that a module computes from others at every call plain ones, in a copy that shares all other tensors.

Both ways of PyTorch are undone: parametrizations (`torch.nn.utils.parametrize`: weight norm, spectral norm,
orthogonal matrices) and the older hooks (`torch.nn.utils.weight_norm`, `spectral_norm`). In evaluation mode what they
compute is constant.
"""

from __future__ import annotations

import copy

import onnx_ir as ir
import torch
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from onnxnorm.graph.edit import rename_initializer

__all__ = ["name_parameters", "plain"]


def plain(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module itself, or a copy in which computed weights are plain; the module is not changed."""
    parametrized = [path for path, part in module.named_modules() if parametrize.is_parametrized(part)]
    hooked = [path for path, part in module.named_modules() if _hooks(part)]
    if not parametrized and not hooked:
        return module
    with torch.no_grad():
        twin = _shallow_copy(module)
        for path in hooked:
            part = twin.get_submodule(path)
            for key, hook in _hooks(part):
                weight = hook.compute_weight(part, *((False,) if isinstance(hook, SpectralNorm) else ()))
                del part._forward_pre_hooks[key]
                _set_plain(part, hook.name, weight)
        for path in parametrized:
            part = twin.get_submodule(path)
            weights = {name: getattr(part, name) for name in part.parametrizations}  # type: ignore[union-attr]
            # The class of a parametrized module is made for it, with a property for each weight.
            part.__class__ = type(part).__bases__[0]
            del part._modules["parametrizations"]
            for name, weight in weights.items():
                _set_plain(part, name, weight)
    return twin


def _hooks(part: torch.nn.Module) -> list[tuple[int, WeightNorm | SpectralNorm]]:
    return [(key, h) for key, h in part._forward_pre_hooks.items() if isinstance(h, (WeightNorm, SpectralNorm))]


def _shallow_copy(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with modules of its own and the tensors of the original, those among plain attributes too."""
    shared: dict[int, object] = {}
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values(), *part.__dict__.values()):
            if isinstance(tensor, torch.Tensor):
                shared[id(tensor)] = tensor
    return copy.deepcopy(module, shared)


def _set_plain(part: torch.nn.Module, name: str, weight: torch.Tensor) -> None:
    part.__dict__.pop(name, None)
    for suffix in ("_g", "_v", "_orig", "_u"):
        part._parameters.pop(name + suffix, None)
        part._buffers.pop(name + suffix, None)
    part.register_parameter(name, torch.nn.Parameter(weight.detach(), requires_grad=False))


def name_parameters(graph: ir.Graph, module: torch.nn.Module) -> None:
    """Give parameters their names: one that several modules share bears the first, as `named_parameters` gives it."""
    first: dict[int, str] = {}
    tensors = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    aliases = {name: first.setdefault(id(tensor), name) for name, tensor in tensors}
    for alias, name in aliases.items():
        value = graph.initializers.get(alias)
        if alias == name or value is None or name in graph.initializers:
            continue
        rename_initializer(graph, value, name)
