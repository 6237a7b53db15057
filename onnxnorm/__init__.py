"""Carries the normalization layers of neural networks to deployment: export, run, fold, prove."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxnorm import layers, lrn, passes, reference, rules, testing
    from onnxnorm.errors import OnnxNormError, OnnxNormWarning
    from onnxnorm.exporter.export import export
    from onnxnorm.journal import Decline, Rewrite
    from onnxnorm.optimizer.inspect import Fate, NormRecord, inspect
    from onnxnorm.optimizer.optimize import TARGETS, fold, optimize
    from onnxnorm.optimizer.result import OptimizeResult
    from onnxnorm.runtime.library import custom_ops_library_path
    from onnxnorm.runtime.session import session
    from onnxnorm.verification.verify import VerifyReport, verify

    __version__: str

_HOME = {
    "Decline": "journal",
    "Fate": "optimizer.inspect",
    "NormRecord": "optimizer.inspect",
    "OnnxNormError": "errors",
    "OnnxNormWarning": "errors",
    "OptimizeResult": "optimizer.result",
    "Rewrite": "journal",
    "TARGETS": "optimizer.optimize",
    "VerifyReport": "verification.verify",
    "custom_ops_library_path": "runtime.library",
    "export": "exporter.export",
    "fold": "optimizer.optimize",
    "inspect": "optimizer.inspect",
    "optimize": "optimizer.optimize",
    "session": "runtime.session",
    "verify": "verification.verify",
}
_MODULES = ("layers", "lrn", "passes", "reference", "rules", "testing")

__all__ = [
    "TARGETS",
    "Decline",
    "Fate",
    "NormRecord",
    "OnnxNormError",
    "OnnxNormWarning",
    "OptimizeResult",
    "Rewrite",
    "VerifyReport",
    "__version__",
    "custom_ops_library_path",
    "export",
    "fold",
    "inspect",
    "layers",
    "lrn",
    "optimize",
    "passes",
    "reference",
    "rules",
    "session",
    "testing",
    "verify",
]


# Type checkers know the names from above; one that is not there has to be an error for them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _HOME:
            return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        if name == "__version__":
            from onnxnorm.runtime.doctor import own_version

            return own_version()
        # With name and object Python proposes what was probably meant.
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return __all__
