"""The runtimes that a model can be written for by name and version, and what each version reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import closest

__all__ = ["Runtime", "runtime_named"]


@dataclass(frozen=True)
class Runtime:
    """A version of a runtime.

    Attributes:
        name: of the runtime.
        version: as it was given; empty where any will do.
        target: what `optimize` is to write for it, one of `TARGET_NAMES`.
        opset: the newest standard opset that it reads; None where that is not known to end.
        ir_version: the newest IR version that it reads; None as above.
    """

    name: str
    version: str
    target: str
    opset: int | None = None
    ir_version: int | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    def check_opset(self, opset: int) -> None:
        """Check an opset that a caller asks for.

        Raises:
            OnnxNormError: the runtime does not read it.
        """
        if self.opset is not None and opset > self.opset:
            raise OnnxNormError(f"{self} reads opsets up to {self.opset}, not {opset}")


# The first version of each row, with the newest opset and IR version. Of onnxruntime by loading a model of each; of
# TensorRT by docs/operators.md of onnx-tensorrt at each of its versions.
_ONNXRUNTIME = (
    ((1, 15), 19, 9),
    ((1, 17), 20, 9),
    ((1, 18), 21, 10),
    ((1, 21), 22, 10),
    ((1, 23), 23, 11),
    ((1, 24), 25, 13),
    ((1, 32), 26, 14),
)
_TENSORRT = (
    ((8, 0), 13, None),
    ((8, 5), 17, None),
    ((9, 2), 19, None),
    ((10, 0), 20, None),
    ((10, 15), 24, None),
)
_VERSIONS: Mapping[str, tuple[tuple[tuple[int, int], int, int | None], ...]] = {
    "onnxruntime": _ONNXRUNTIME,
    "onnxruntime-node": _ONNXRUNTIME,
    "onnxruntime-web": _ONNXRUNTIME,
    "tensorrt": _TENSORRT,
    "openvino": (),
    "opencv": (),
}
_TARGETS = {"onnxruntime-node": "portable", "onnxruntime-web": "web", "opencv": "portable"}
# onnxruntime 1.15 ends the process over the body of a custom operator.
_OLDEST_WITH_FUNCTIONS = (1, 16)


def runtime_named(text: str) -> Runtime:
    """Return the runtime that a text such as "onnxruntime==1.16" names; without a version, the newest that is known.

    Raises:
        OnnxNormError: the text is no name and version, or nothing is known of that runtime or version.
    """
    match = re.fullmatch(
        r"\s*([A-Za-z][\w-]*)\s*(?:==\s*(\d+)(?:\.(\d+))?(\S*))?\s*", text if isinstance(text, str) else ""
    )
    if match is None:
        raise OnnxNormError(f"a runtime is a name, or a name and a version such as onnxruntime==1.16, not {text!r}")
    name = match[1].lower()
    if name not in _VERSIONS:
        raise OnnxNormError(
            f"there is no runtime {match[1]!r}{closest(name, _VERSIONS)}; there are: {', '.join(_VERSIONS)}"
        )
    target, rows = _TARGETS.get(name, name), _VERSIONS[name]
    if match[2] is None:
        return Runtime(name, "", target, *(rows[-1][1:] if rows else ()))
    number = (int(match[2]), int(match[3] or 0))
    version = f"{match[2]}{'' if match[3] is None else '.' + match[3]}{match[4]}"
    known = [row for row in rows if row[0] <= number]
    if rows and not known:
        oldest = ".".join(map(str, rows[0][0]))
        raise OnnxNormError(f"what {name} {version} reads is not known; it is from {name} {oldest} on")
    if target == "onnxruntime" and number < _OLDEST_WITH_FUNCTIONS:
        target = "portable"
    return Runtime(name, version, target, *(known[-1][1:] if known else ()))
