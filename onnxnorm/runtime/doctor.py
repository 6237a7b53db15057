"""Examines what the installation consists of, whether its parts work together, and what a missing part costs."""

from __future__ import annotations

import enum
import importlib
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from onnxnorm.errors import OnnxNormError

__all__ = ["Check", "Status", "diagnose", "own_version"]


class Status(str, enum.Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """The installation works without this part, at a cost that the detail names."""
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """A check of one thing: what it is, how it is, and the version, path or reason."""

    name: str
    status: Status
    detail: str


_TORCH_COST = "onnxnorm.layers and export need it, all else works without"

# The name to install and the name to import of each library, and what its absence costs where not everything.
_LIBRARIES: tuple[tuple[str, str, str | None], ...] = (
    ("numpy", "numpy", None),
    ("ml_dtypes", "ml_dtypes", None),
    ("onnx", "onnx", None),
    ("onnx-ir", "onnx_ir", None),
    ("onnxscript", "onnxscript", None),
    ("onnxruntime", "onnxruntime", None),
    ("rich", "rich", None),
    ("torch", "torch", _TORCH_COST),
)


def own_version() -> str:
    """Return the installed version of onnxnorm, or "unknown (not installed)" where it runs from a source tree."""
    try:
        return metadata.version("onnxnorm")
    except metadata.PackageNotFoundError:
        return "unknown (not installed, run from its source tree)"


def diagnose() -> tuple[Check, ...]:
    """Look at every part, load the native library into onnxruntime and run each custom op with it and without."""
    checks = [
        Check("onnxnorm", Status.OK, own_version()),
        Check("python", Status.OK, f"{platform.python_version()} ({sys.executable})"),
        Check("platform", Status.OK, f"{platform.system()} {platform.machine()}"),
    ]
    checks += [_check_library(*library) for library in _LIBRARIES]
    if all(check.status is not Status.FAILED for check in checks):
        checks += _check_operators()
    return tuple(checks)


def _check_library(name: str, module: str, cost: str | None) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever it is, it is what this check is there to tell
        if version is not None:
            return Check(name, Status.FAILED, f"{version}, but importing it fails: {type(error).__name__}: {error}")
        if cost is not None:
            return Check(name, Status.NOTE, f'not installed: {cost} (pip install "onnxnorm[{name}]")')
        return Check(name, Status.FAILED, f"not installed: pip install {name}")
    return Check(name, Status.OK, version or str(getattr(imported, "__version__", "of unknown version")))


def _check_operators() -> list[Check]:
    """Check the native library, and each custom op on a small tensor against the float64 formula."""
    from onnxnorm.runtime.library import find_library

    try:
        library = find_library()
    except OnnxNormError as error:
        checks = [Check("native library", Status.FAILED, str(error))]
        library = None
    else:
        checks = [_NO_LIBRARY if library is None else Check("native library", Status.OK, str(library))]
    if library is not None:
        checks.append(_check_instruction_set())
        checks += [_self_test(op_type, portable=False) for op_type in _SELF_TESTS]
    return checks + [_self_test(op_type, portable=True) for op_type in _SELF_TESTS]


_NO_LIBRARY = Check(
    "native library",
    Status.NOTE,
    "not built: the custom ops run on their portable bodies, correct but slower; "
    "install a C++20 compiler (GCC or Clang) and then onnxnorm again",
)

# Each custom op with the attributes of its self-test.
_SELF_TESTS: dict[str, dict[str, Any]] = {
    "InterChannelLRN": {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0},
    "IntraChannelLRN": {"kernel_shape": [3, 2], "alpha": 0.5, "beta": 0.75, "bias": 1.0},
}
_SHAPE = (2, 4, 5, 3)


def _self_test(op_type: str, *, portable: bool) -> Check:
    import numpy as np

    from onnxnorm import reference

    name = f"{op_type}, {'portable body' if portable else 'native kernel'}"
    x = np.random.default_rng(0).standard_normal(_SHAPE).astype(np.float32)
    formulas: dict[str, Callable[..., Any]] = {
        "InterChannelLRN": reference.inter_channel_lrn,
        "IntraChannelLRN": reference.intra_channel_lrn,
    }
    expected = formulas[op_type](x, **_SELF_TESTS[op_type])
    try:
        (y,) = _session_of(op_type, portable=portable).run(None, {"x": x})
    except Exception as error:  # whatever it is, it is what this check is there to tell
        return Check(name, Status.FAILED, f"does not run: {' '.join(str(error).split())}")
    largest = float(np.max(np.abs(y - expected) / np.abs(expected)))
    # Some ten float32 operations, each correct to half a unit in the last place.
    passed = largest <= 10 * float(np.finfo(np.float32).eps)
    verdict = "agrees with the formula" if passed else "does not compute its formula"
    return Check(name, Status.OK if passed else Status.FAILED, f"{verdict}: largest relative error {largest:.1e}")


def _session_of(op_type: str, *, portable: bool) -> Any:
    """Return a session of a model that is one custom op on a float tensor."""
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

    from onnxnorm.ops.schema import DOMAIN, VERSION
    from onnxnorm.runtime.session import session

    node = onnx.helper.make_node(op_type, ["x"], ["y"], name="node", domain=DOMAIN, **_SELF_TESTS[op_type])
    values = [onnx.helper.make_tensor_value_info(text, onnx.TensorProto.FLOAT, _SHAPE) for text in "xy"]
    graph = onnx.helper.make_graph([node], "self-test", values[:1], values[1:])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(DOMAIN, VERSION)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, and told in the check
    return session(model, portable=portable, sess_options=options)


_ISA_VARIABLE = "ONNXNORM_ISA"


def _check_instruction_set() -> Check:
    """Check the instruction set of the kernels: the one that is asked for, or the first that the library names.

    The library names them when it is asked for one that there is not.
    """
    name = "instruction set"
    asked = os.environ.get(_ISA_VARIABLE)
    os.environ[_ISA_VARIABLE] = "which?"
    try:
        _session_of("InterChannelLRN", portable=False)
        return Check(
            name, Status.FAILED, f"the library takes any {_ISA_VARIABLE}: it is of another version; build it anew"
        )
    except OnnxNormError as error:
        told, found, names = str(error).partition("this processor and build have: ")
    finally:
        if asked is None:
            del os.environ[_ISA_VARIABLE]
        else:
            os.environ[_ISA_VARIABLE] = asked
    if not found:
        return Check(name, Status.FAILED, f"the library does not name any: {told}")
    chosen = asked or names.partition(",")[0]
    status = Status.OK if chosen in names.split(", ") else Status.FAILED
    return Check(name, status, f"{chosen}, chosen by {_ISA_VARIABLE if asked else 'itself'} (there are: {names})")
