"""What the tool tells the user once in a process, and not again at every session."""

from __future__ import annotations

import functools
import warnings

from onnxnorm._errors import OnnxNormWarning

__all__ = ["say_once"]


@functools.cache
def say_once(message: str) -> None:
    """Warn with `OnnxNormWarning`, the first time that this process has this message."""
    warnings.warn(message, OnnxNormWarning, stacklevel=3)
