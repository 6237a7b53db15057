"""What was measured of each file for each target, kept in a folder, so that a long run can go on where it stopped.

Rows hold for one version of the package. What runtimes make of a file holds for the bytes of the file: a version of the
package that gives the same result as another one does not make them count again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import onnxnorm
from bench import nodes
from bench.runtime import counting, predicted, timing
from bench.runtime.counting import Counts
from bench.runtime.timing import Latency

__all__ = ["Measured", "Store"]

_RUNTIMES = ("onnx", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Measured:
    """What was found of one file and its result for one target.

    Attributes:
        model: the name of the file.
        target: what it was optimized for.
        before: nodes by kind that each runtime makes of the file, or why it makes none.
        after: the same of the result.
        size: bytes of the file and of the result.
        result: the digest of the result's bytes; empty where `optimize` refused the file.
        rewrites: how many nodes were rewritten.
        work: of the file and of the result, by the cost model of `optimize`.
        latency: of both in onnxruntime; None as long as it is not measured, and where it cannot be.
        latency_in_openvino: the same in OpenVINO.
    """

    model: str
    target: str
    before: dict[str, Counts | str]
    after: dict[str, Counts | str]
    size: tuple[int, int]
    result: str
    rewrites: int
    work: tuple[int, int] = (0, 0)
    latency: Latency | None = None
    latency_in_openvino: Latency | None = None

    def to_json(self) -> str:
        return json.dumps(vars(self), default=vars)

    @classmethod
    def from_json(cls, text: str) -> Measured:
        fields = json.loads(text)
        for key in ("before", "after"):
            fields[key] = _counts(fields[key])
        fields["size"], fields["work"] = tuple(fields["size"]), tuple(fields["work"])
        for key in ("latency", "latency_in_openvino"):
            fields[key] = None if fields.get(key) is None else Latency(**fields[key])
        return cls(**fields)


def _counts(fields: dict[str, object]) -> dict[str, Counts | str]:
    return {way: found if isinstance(found, str) else Counter(found) for way, found in fields.items()}


class Store:
    """A folder of measurements by this version of the package, with these versions of the runtimes."""

    def __init__(self, folder: Path) -> None:
        self._rows = folder / "rows" / _version()
        self._counts = folder / "counts" / _runtimes()
        self._results = folder / "results"
        for each in (self._rows, self._counts, self._results):
            each.mkdir(parents=True, exist_ok=True)

    def find(self, model: str, target: str) -> Measured | None:
        path = self._path(model, target)
        return Measured.from_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, measured: Measured) -> None:
        _write(self._path(measured.model, measured.target), measured.to_json())

    def counts(
        self, path: Path, tool: tuple[str, int, int] | None, count: Callable[[], dict[str, Counts | str]]
    ) -> dict[str, Counts | str]:
        """Return what runtimes make of the file, read by the transformer tool as told; `count` finds what is new."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = self._counts / "-".join([digest, *map(str, tool or ())])
        if known.exists():
            return _counts(json.loads(known.read_text(encoding="utf-8")))
        found = count()
        _write(known, json.dumps(found))
        return found

    def put_result(self, data: bytes) -> str:
        """Keep the bytes of a result for the run that measures time; return their digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.result(digest).write_bytes(data)
        return digest

    def result(self, digest: str) -> Path:
        return self._results / f"{digest}.onnx"

    def __iter__(self) -> Iterator[Measured]:
        for path in sorted(self._rows.glob("*.json")):
            yield Measured.from_json(path.read_text(encoding="utf-8"))

    def _path(self, model: str, target: str) -> Path:
        return self._rows / f"{model}.{target}.json"


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _version() -> str:
    """Return a digest of the source of the package and of what measures here, and of the versions of the runtimes."""
    measuring = [Path(module.__file__) for module in (counting, nodes, predicted, timing)]
    return _digest([*sorted(Path(onnxnorm.__file__).parent.rglob("*.py")), *measuring])


def _runtimes() -> str:
    """Return a digest of how nodes are counted: by which source, runtimes and library of custom operators."""
    files = [Path(module.__file__) for module in (counting, nodes)]
    with suppress(onnxnorm.OnnxNormError):
        files.append(Path(onnxnorm.custom_ops_library_path()))
    return _digest(files)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.parent.name}/{path.name}".encode() + b"\0" + path.read_bytes())
    for name in _RUNTIMES:
        try:
            digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"no {name}\n".encode())
    return digest.hexdigest()[:16]
