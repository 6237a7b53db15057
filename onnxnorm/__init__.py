"""Carries the normalization layers of neural networks to deployment: export, run, fold, prove."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm import layers, lrn, reference
    from onnxnorm.errors import OnnxNormError
    from onnxnorm.exporter.export import export
    from onnxnorm.optimizer.inspect import inspect
    from onnxnorm.optimizer.optimize import fold, optimize
    from onnxnorm.runtime.library import custom_ops_library_path
    from onnxnorm.runtime.session import session
    from onnxnorm.verification.verify import verify

_HOME = {
    "OnnxNormError": "errors",
    "custom_ops_library_path": "runtime.library",
    "export": "exporter.export",
    "fold": "optimizer.optimize",
    "inspect": "optimizer.inspect",
    "optimize": "optimizer.optimize",
    "session": "runtime.session",
    "verify": "verification.verify",
}
_MODULES = ("layers", "lrn", "reference")

__all__ = [
    "OnnxNormError",
    "custom_ops_library_path",
    "export",
    "fold",
    "inspect",
    "layers",
    "lrn",
    "optimize",
    "reference",
    "session",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
