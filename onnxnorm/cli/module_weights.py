"""Gives a torch module its weights from a file, and tells one that was never trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.files.foreign_formats import Family, foreign_format

__all__ = ["load_weights", "looks_untrained"]

# Under these names training programs put the weights beside the state of the optimizer.
_HOLDERS = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def load_weights(module: Any, path: str) -> None:
    """Load the weights of a checkpoint into the module, each of them.

    Raises:
        UsageError: the file cannot be read, holds no weights, or has not those of the module.
    """
    state = _state_of(path)
    own = module.state_dict()
    ways = [{name.removeprefix(prefix): value for name, value in state.items()} for prefix in ("", *_PREFIXES)]
    plain = next((way for way in ways if way.keys() & own.keys()), state)
    missing = [name for name in own if name not in plain and not name.endswith("num_batches_tracked")]
    unknown = [name for name in plain if name not in own]
    wrong = [
        f"{name} has shape {tuple(plain[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in plain and plain[name].shape != own[name].shape
    ]
    faults = [
        *([f"it has no {_listed(missing)}"] if missing else []),
        *([f"the module has no {_listed(unknown)}"] if unknown else []),
        *wrong[:3],
    ]
    if faults:
        raise UsageError(f"{path}: these are not the weights of {type(module).__name__}: {'; '.join(faults)}")
    module.load_state_dict(plain, strict=False)


def looks_untrained(module: Any) -> bool:
    """Whether the module has BatchNorms, and none of them has ever seen a batch."""
    import torch

    norms = [
        part
        for part in module.modules()
        if isinstance(getattr(part, "running_mean", None), torch.Tensor)
        and isinstance(getattr(part, "running_var", None), torch.Tensor)
        and not part.running_mean.is_meta
    ]
    return bool(norms) and all(
        bool((norm.running_mean == 0).all()) and bool((norm.running_var == 1).all()) for norm in norms
    )


def _state_of(path: str) -> dict[str, Any]:
    import torch

    if not Path(path).is_file():
        raise UsageError(f"{path}: there is no such file")
    try:
        if path.endswith(".safetensors"):
            found: Any = _from_safetensors(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{path}: {_why_no_weights(path, error)}") from error
    for _ in range(2):
        if isinstance(found, Mapping) and not _holds_tensors(found):
            found = next((found[name] for name in _HOLDERS if isinstance(found.get(name), Mapping)), found)
    if not isinstance(found, Mapping) or not _holds_tensors(found):
        raise UsageError(f"{path}: holds no weights by name, but a {type(found).__name__}")
    return {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}


def _why_no_weights(path: str, error: Exception) -> str:
    """Tell what the file is instead, as far as that is known."""
    if "weights only" in str(error).lower() and "Unsupported" in str(error):
        return "holds other Python objects than weights, such as a whole module: save module.state_dict() alone"
    found = foreign_format(Path(path))
    if found is not None and found.family is not Family.CHECKPOINT:
        return f"holds no weights, it is {found.what}"
    writer = "safetensors" if path.endswith(".safetensors") else "torch.save"
    return f"cannot be read as weights: {writer} wrote no such file, or only a part of it is there"


def _holds_tensors(found: Mapping[Any, Any]) -> bool:
    import torch

    return any(isinstance(value, torch.Tensor) for value in found.values())


def _from_safetensors(path: str) -> Any:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise UsageError(f"{path}: reading it needs safetensors: pip install safetensors") from error
    return load_file(path)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
