"""Writes the files of the matrix, runs them in a runtime, and says what comes out: right numbers, or why not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.matrix.columns import Column, run_column
from bench.matrix.reasons import why_not, why_other_numbers
from bench.matrix.rows import Row

__all__ = ["Outcome", "examine", "read_outcomes", "write", "write_outcomes"]


@dataclass(frozen=True)
class Outcome:
    """What a runtime makes of a file.

    Attributes:
        column: the name of the runtime.
        subject: the network or operator.
        opset: that of the file as it was exported.
        form: one of `FORMS`.
        is_network: whether it is a network of models/.
        error: the largest error, as a part of the largest number; None where there is no result to compare.
        reason: why it is not right, in words; empty where it is.
    """

    column: str
    subject: str
    opset: int
    form: str
    is_network: bool
    error: float | None
    reason: str

    @property
    def is_right(self) -> bool:
        return not self.reason


def write(rows: Iterable[Row], folder: Path) -> list[Row]:
    """Write the files of the rows and their inputs, equal ones once; return the rows, without their weights."""
    written = []
    for row in rows:
        if row.model is None:
            written.append(row)
            continue
        content = row.model.SerializeToString(deterministic=True)
        file = hashlib.sha256(content + row.x.tobytes()).hexdigest()[:20]
        if not (folder / f"{file}.onnx").exists():
            (folder / f"{file}.onnx").write_bytes(content)
            np.save(folder / f"{file}.x.npy", row.x)
        nodes = onnx.ModelProto()
        nodes.CopyFrom(row.model)
        del nodes.graph.initializer[:]
        written.append(dataclasses.replace(row, model=nodes, file=file))
    return written


def examine(
    rows: Sequence[Row], column: Column, folder: Path, place: Path | None, seconds: float | None = None
) -> list[Outcome]:
    """Run all files in one runtime and compare; a process gets the seconds, or some for each file."""
    files = list(dict.fromkeys(row.file for row in rows if row.model is not None))
    run_column(column, files, folder, place, 120 + 30 * len(files) if seconds is None else seconds)
    return [_outcome(row, column, folder) for row in rows]


def _outcome(row: Row, column: Column, folder: Path) -> Outcome:
    def told(error: float | None, reason: str) -> Outcome:
        return Outcome(column.name, row.subject, row.opset, row.form, row.is_network, error, reason)

    if row.model is None:
        return told(None, row.reason)
    answer = json.loads((folder / f"{row.file}.out.json").read_text(encoding="utf-8"))
    if "reason" in answer:
        return told(None, why_not(column, row, answer["reason"]))
    errors = []
    for place in range(answer["outputs"]):
        got = np.load(folder / f"{row.file}.{place}.y.npy").astype(np.float64)
        if got.shape != row.wanted.shape:
            return told(None, f"gives the shape {list(got.shape)}, not {list(row.wanted.shape)}")
        worst = float(np.max(np.abs(got - row.wanted))) / float(np.max(np.abs(row.wanted)))
        errors.append(worst if np.isfinite(got).all() else np.inf)
    error = max(errors, default=None)
    return told(error, why_other_numbers(column, row) if error is not None and error > row.tolerance else "")


def write_outcomes(outcomes: Iterable[Outcome], file: Path) -> None:
    """Keep outcomes, for a run that goes on where this one ends."""
    data: list[dict[str, Any]] = [dataclasses.asdict(outcome) for outcome in outcomes]
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(data), encoding="utf-8")
    unfinished.replace(file)


def read_outcomes(file: Path) -> list[Outcome]:
    """Read what `write_outcomes` kept; nothing where there is no file."""
    return [Outcome(**each) for each in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
