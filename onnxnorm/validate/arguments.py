"""Checks the kinds of the arguments of a caller, so that a wrong one is told by its name and not by where it fails."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np

from onnxnorm.errors import OnnxNormError

__all__ = [
    "check_count",
    "check_flags",
    "check_number",
    "check_path",
    "check_session_options",
    "check_shapes",
    "names_in",
    "no_model",
]


def check_flags(**flags: object) -> None:
    """Refuse what is neither true nor false, such as a text, which would count as true; None may be given.

    Raises:
        OnnxNormError: an argument is of another kind.
    """
    for name, value in flags.items():
        if value is not None and not isinstance(value, (bool, np.bool_)):
            raise OnnxNormError(f"{name} is True or False, not {value!r}")


def check_path(name: str, value: object) -> None:
    """Refuse what is no path.

    Raises:
        OnnxNormError: it is of another kind.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise OnnxNormError(f"{name} is a path, not {_called(value)}")


def check_session_options(name: str, value: object) -> None:
    """Refuse what are no options of onnxruntime's sessions; None may be given.

    Raises:
        OnnxNormError: they are of another kind.
    """
    if value is not None and not hasattr(value, "graph_optimization_level"):
        raise OnnxNormError(f"{name} is an onnxruntime.SessionOptions, not {_called(value)}")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no whole number of at least so many; None may be given.

    Raises:
        OnnxNormError: it is another number, or no number.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value is not None and not (whole and int(value) >= least):  # type: ignore[call-overload]
        raise OnnxNormError(f"{name} is a whole number of at least {least}, not {value!r}")


def check_number(name: str, value: object) -> float | None:
    """Return the number that a caller gives; None may be given.

    Raises:
        OnnxNormError: it is no number.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise OnnxNormError(f"{name} is a number, not {value!r}")
    return float(value)


def check_shapes(name: str, value: object) -> None:
    """Refuse what are no extents by the names of inputs; None may be given.

    Raises:
        OnnxNormError: they are of another kind.
    """
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise OnnxNormError(f'{name} is a dictionary, such as {{"x": (1, 3, 224, 224)}}, not {_called(value)}')
    for key, shape in value.items():
        dims = shape if isinstance(shape, Iterable) and not isinstance(shape, str) else (None,)
        if not all(isinstance(dim, (int, np.integer)) and not isinstance(dim, bool) and dim >= 0 for dim in dims):
            raise OnnxNormError(f"{name}: the shape of {key!r} is {shape!r}; it is a number for each axis")


def names_in(name: str, value: object) -> list[str]:
    """Return the names that a caller lists; none where None is given.

    Raises:
        OnnxNormError: it is one name, or something that is no list of names.
    """
    if value is None:
        return []
    found = [*value] if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else [None]
    if not all(isinstance(each, str) for each in found):
        raise OnnxNormError(f"{name} is a list of names, such as [{(value if isinstance(value, str) else 'norm')!r}]")
    return [str(each) for each in found]


def no_model(value: object, *, or_bytes: bool = False) -> OnnxNormError:
    """Return the error for what is given in place of a model, with what to do.

    Args:
        value: what is given.
        or_bytes: bytes of a model are taken too.
    """
    forms = f"a path, {'bytes, ' if or_bytes else ''}an onnx.ModelProto or an onnx_ir.Model"
    advice = ""
    if isinstance(value, (bytes, bytearray, memoryview)):
        advice = "; onnx.load_model_from_string makes a model of bytes"
    elif hasattr(value, "read"):
        advice = "; give the path of the file"
    elif type(value).__name__ == "GraphProto":
        advice = "; onnx.helper.make_model makes a model of a graph"
    return OnnxNormError(f"a model is {forms}, not {_called(value)}{advice}")


def _called(value: object) -> str:
    if value is None:
        return "None"
    return "bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"
