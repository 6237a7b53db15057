"""Defines the errors and warnings that are the user's to mend."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterator

__all__ = [
    "OnnxNormError",
    "OnnxNormWarning",
    "RunError",
    "UnprovedError",
    "cause_of",
    "first_line",
    "naming",
    "say_once",
]


class OnnxNormError(Exception):
    """The base of every error that the user can mend: its message names the file or node and says what to do."""


class UnprovedError(OnnxNormError):
    """Raised where a result cannot be verified; the caller may want it unproved.

    Attributes:
        why: why it cannot, without how to do without it.
    """

    def __init__(self, told: str, why: str = "") -> None:
        super().__init__(told)
        self.why = why or told


class RunError(OnnxNormError):
    """Raised where onnxruntime takes a model, and then runs it on none of the inputs."""


class OnnxNormWarning(UserWarning):
    """A warning that something works, though not as the user may expect; the message says what to do about it."""


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Name the model in the errors that are raised inside."""
    try:
        yield
    except OnnxNormError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error


def first_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def cause_of(error: BaseException) -> str:
    """Return the message of the error that onnx-ir stumbled over, without its trail of where it did."""
    # Where onnx-ir was not imported, none of its errors can have been raised; importing it here would slow every start.
    onnx_ir = sys.modules.get("onnx_ir")
    while onnx_ir is not None and isinstance(error, onnx_ir.serde.SerdeError) and error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@functools.cache
def say_once(message: str) -> None:
    """Warn with `OnnxNormWarning`, the first time that this process has this message."""
    warnings.warn(message, OnnxNormWarning, stacklevel=3)
