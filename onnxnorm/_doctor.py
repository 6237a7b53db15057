"""What the installation consists of, whether its parts work together, and what a missing part costs."""

from __future__ import annotations

import enum
import importlib
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

__all__ = ["Check", "Status", "diagnose", "own_version"]


class Status(str, enum.Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Works without, at a cost that the detail names."""
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what, how it is, and the version, path or reason."""

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
    """The installed version of onnxnorm, or "unknown (not installed)" where it runs from a source tree."""
    try:
        return metadata.version("onnxnorm")
    except metadata.PackageNotFoundError:
        return "unknown (not installed, run from its source tree)"


def diagnose() -> tuple[Check, ...]:
    """Looks at every part, loads the native library into onnxruntime and runs each custom op with it and without."""
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
    """The native library, and each custom op on a small tensor against the float64 formula."""
    from onnxnorm._runtime import find_library

    library = find_library()
    if library is None:
        native = Check(
            "native library",
            Status.NOTE,
            "not built: the custom ops run on their portable bodies, correct but slower; "
            "install onnxnorm where there is a C++20 compiler",
        )
        return [native, *(_self_test(op_type, portable=True) for op_type in _SELF_TESTS)]
    checks = [Check("native library", Status.OK, str(library))]
    checks += [_self_test(op_type, portable=portable) for portable in (False, True) for op_type in _SELF_TESTS]
    return checks


# Each custom op with the attributes of its self-test.
_SELF_TESTS: dict[str, dict[str, Any]] = {
    "InterChannelLRN": {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0},
    "IntraChannelLRN": {"kernel_shape": [3, 2], "alpha": 0.5, "beta": 0.75, "bias": 1.0},
}


def _self_test(op_type: str, *, portable: bool) -> Check:
    import numpy as np
    import onnx

    from onnxnorm import _ops, reference
    from onnxnorm._runtime import session

    name = f"{op_type}, {'portable body' if portable else 'native kernel'}"
    attributes = _SELF_TESTS[op_type]
    shape = (2, 4, 5, 3)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    formulas: dict[str, Callable[..., Any]] = {
        "InterChannelLRN": reference.inter_channel_lrn,
        "IntraChannelLRN": reference.intra_channel_lrn,
    }
    expected = formulas[op_type](x, **attributes)
    node = onnx.helper.make_node(op_type, ["x"], ["y"], name="self-test", domain=_ops.DOMAIN, **attributes)
    values = [onnx.helper.make_tensor_value_info(text, onnx.TensorProto.FLOAT, shape) for text in "xy"]
    graph = onnx.helper.make_graph([node], "self-test", values[:1], values[1:])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(_ops.DOMAIN, _ops.VERSION)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    try:
        _ops.attach_bodies(model)
        (y,) = session(model, portable=portable).run(None, {"x": x})
    except Exception as error:  # whatever it is, it is what this check is there to tell
        return Check(name, Status.FAILED, f"does not run: {' '.join(str(error).split())}")
    largest = float(np.max(np.abs(y - expected) / np.abs(expected)))
    # Some ten float32 operations, each correct to half a unit in the last place.
    passed = largest <= 10 * float(np.finfo(np.float32).eps)
    verdict = "agrees with the formula" if passed else "does not compute its formula"
    return Check(name, Status.OK if passed else Status.FAILED, f"{verdict}: largest relative error {largest:.1e}")
