"""What was measured of each file for each target, kept in a folder, so that a long run can go on where it stopped."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnxnorm
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
        latency: of both; None as long as it is not measured, and where it cannot be.
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

    def to_json(self) -> str:
        latency = None if self.latency is None else vars(self.latency)
        return json.dumps({**vars(self), "latency": latency})

    @classmethod
    def from_json(cls, text: str) -> Measured:
        fields = json.loads(text)
        for key in ("before", "after"):
            fields[key] = {
                way: found if isinstance(found, str) else Counter(found) for way, found in fields[key].items()
            }
        fields["size"], fields["work"] = tuple(fields["size"]), tuple(fields["work"])
        fields["latency"] = None if fields["latency"] is None else Latency(**fields["latency"])
        return cls(**fields)


class Store:
    """A folder of measurements by this version of the package, with these versions of the runtimes."""

    def __init__(self, folder: Path) -> None:
        self._rows = folder / "rows" / _version()
        self._results = folder / "results"
        for each in (self._rows, self._results):
            each.mkdir(parents=True, exist_ok=True)

    def find(self, model: str, target: str) -> Measured | None:
        path = self._path(model, target)
        return Measured.from_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, measured: Measured) -> None:
        path = self._path(measured.model, measured.target)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(measured.to_json(), encoding="utf-8")
        unfinished.replace(path)

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


def _version() -> str:
    """Return a digest of the package's source and of the versions of the runtimes."""
    digest = hashlib.sha256()
    root = Path(onnxnorm.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    for name in _RUNTIMES:
        try:
            digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"no {name}\n".encode())
    return digest.hexdigest()[:16]
