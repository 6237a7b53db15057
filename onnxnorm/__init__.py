"""The normalization layers of neural networks on their way to deployment: export, run, fold, prove."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm import layers as layers
    from onnxnorm import lrn as lrn
    from onnxnorm import reference as reference
    from onnxnorm._errors import OnnxNormError as OnnxNormError
    from onnxnorm._export import export as export
    from onnxnorm._inspect import inspect as inspect
    from onnxnorm._optimize import fold as fold
    from onnxnorm._optimize import optimize as optimize
    from onnxnorm._runtime import custom_ops_library_path as custom_ops_library_path
    from onnxnorm._runtime import session as session
    from onnxnorm._verify import verify as verify

_HOME = {
    "OnnxNormError": "_errors",
    "custom_ops_library_path": "_runtime",
    "export": "_export",
    "fold": "_optimize",
    "inspect": "_inspect",
    "optimize": "_optimize",
    "session": "_runtime",
    "verify": "_verify",
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
