"""Puts off the import of libraries that others import and this program hardly ever needs, until they are used.

onnx-ir imports sympy for arithmetic with symbolic dimensions, which takes longer than optimizing most models; onnx
imports what reads and writes messages as text.
`importlib.util.LazyLoader` does not serve: a second import statement loads what it has put off.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["import_later"]


class _Later(ModuleType):
    """A stand-in for a module until one of its attributes is wanted."""

    def __getattr__(self, name: str) -> Any:
        # Somebody else may have imported the module itself meanwhile.
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_later(*names: str) -> None:
    """Put off the imports of modules; without effect on those that are imported already."""
    for name in names:
        sys.modules.setdefault(name, _Later(name))
