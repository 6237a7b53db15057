"""Rows of the benches of kernels: one tensor, one number of threads, an operator, and every rival beside it.

All that stand in one row run in turns, several calls each, and every figure is the fastest call of all turns: what
other work on the machine disturbed least. Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import onnxruntime

from bench.clock import Call, fastest
from bench.pages import FIGURE, TEXT, Section, add_out
from bench.tables import head, print_head, print_row, row

__all__ = ["OWN", "KernelBench", "Measured", "aligned", "bound", "calls_of"]

OWN = "onnxnorm"
"""The name of this project's kernel among the rivals; it comes first."""
_COPIES = f"{OWN}, copies"


class Case(Protocol):
    """A tensor and what is computed of it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def label(self) -> str:
        """What is computed, in the first column."""
        ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True)
class Measured(Generic[C]):
    """The seconds of one row.

    Attributes:
        seconds: by rival, those of a copy of the tensor by one thread under `copy`.
        alone: the kernel's on one thread; not a number where that was not measured.
    """

    case: C
    threads: int
    seconds: Mapping[str, float]
    alone: float

    @property
    def tensor(self) -> str:
        return "x".join(map(str, self.case.shape))

    @property
    def copies(self) -> float:
        return self.seconds[OWN] / self.seconds["copy"]

    def times(self, rival: str) -> str:
        """Write how many times as long a rival takes."""
        return f"{self.seconds[rival] / self.seconds[OWN]:.1f}" if rival in self.seconds else "-"


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros that begin at a multiple of 64 bytes, as all tensors do that onnxruntime allocates."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + size].reshape(shape)


def bound(runner: onnxruntime.InferenceSession, x: np.ndarray, y: np.ndarray) -> Call:
    """A call of a session of one input and one output, which are bound to the arrays."""
    binding = runner.io_binding()
    names = runner.get_inputs()[0].name, runner.get_outputs()[0].name
    for bind, name, array in zip((binding.bind_input, binding.bind_output), names, (x, y), strict=True):
        bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return lambda: runner.run_with_iobinding(binding)


Maker = Callable[[C, np.ndarray, np.ndarray, int], "Call | None"]


def calls_of(
    case: C, threads: int, rivals: Mapping[str, Maker[C]], tolerance: tuple[float, float]
) -> tuple[dict[str, Call], object]:
    """All that can be timed, each run once and its result compared with the first one's.

    Also what has to stay alive meanwhile: a binding does not hold the arrays it is bound to.
    """
    x, target = aligned(case.shape), aligned(case.shape)
    np.random.default_rng(0).standard_normal(out=x, dtype=np.float32)
    calls: dict[str, Call] = {"copy": lambda: ctypes.memmove(target.ctypes.data, x.ctypes.data, x.nbytes)}
    results: list[np.ndarray] = []
    for name, make in rivals.items():
        y = aligned(case.shape)
        call = make(case, x, y, threads)
        if call is None:
            continue
        call()
        results.append(y)
        if not np.allclose(y, results[0], rtol=tolerance[0], atol=tolerance[1]):
            # Sums of millions of elements in float32 are off by more than that in some.
            print(f"{name} is left out: its numbers are others on {case}", file=sys.stderr)
            continue
        calls[name] = call
    return calls, (x, target, results)


@dataclass(frozen=True)
class KernelBench(Generic[C]):
    """A bench of kernels as a command.

    Attributes:
        name: of the command, in `python -m bench NAME`.
        title: of the first column.
        rivals: what makes the call of each, None where it has no such operator; `OWN` is the first.
        tolerance: relative and absolute, of results to each other.
        quick: the cases of `--quick`.
        page: where its table stands in the docs, if it does.
    """

    name: str
    about: str
    title: str
    rivals: Mapping[str, Maker[C]]
    tolerance: tuple[float, float]
    cases: Sequence[C]
    quick: Sequence[C]
    page: str = ""

    @property
    def sections(self) -> tuple[Section, ...]:
        """The part of the page that this command writes: in each cell one figure for each number of threads."""
        if not self.page:
            return ()
        figures = rf"({FIGURE}|-)(, ({FIGURE}|-))*"
        columns = {self.title: TEXT, "tensor": TEXT, "copy": rf"{FIGURE} ms", _COPIES: figures}
        columns |= dict.fromkeys(list(self.rivals)[1:], figures)
        return (Section(self.name, self.page, (columns,), ("onnxruntime", "openvino", "torch")),)

    def main(self) -> None:
        """Parse the command line, measure, print, and write what is asked for."""
        parser = argparse.ArgumentParser(description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="few rows")
        parser.add_argument("--only", default="", help="rows whose first two columns contain this text")
        parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
        parser.add_argument("--alone", action="store_true", help="without rivals")
        parser.add_argument("--json", type=Path, help="also write all seconds to this file")
        if self.page:
            add_out(parser, *self.sections)
        options = parser.parse_args()
        chosen = [
            case
            for case in (self.quick if options.quick else self.cases)
            if options.only in f"{case.label} {'x'.join(map(str, case.shape))}"
        ]
        rivals = {OWN: self.rivals[OWN]} if options.alone else self.rivals
        others = list(self.rivals)[1:]
        print_head(self.title, "tensor", "threads", "copy", OWN, "/ copy", "speed-up", *others)
        done = []
        for each in self.rows(chosen, options.threads, rivals):
            own = each.seconds[OWN]
            times = (f"{seconds * 1e3:.3f} ms" for seconds in (each.seconds["copy"], own))
            cells = (*times, f"{each.copies:.2f}", f"{each.alone / own:.2f}", *map(each.times, others))
            print_row(each.case.label, each.tensor, each.threads, *cells)
            done.append(each)
        if options.json:
            told = [(each.case.label, each.tensor, each.threads, dict(each.seconds)) for each in done]
            options.json.write_text(json.dumps(told, indent=1))
        if self.page and options.out:
            self.sections[0].write(options.out, [self.table(done)])

    def rows(self, cases: Sequence[C], threads: Sequence[int], rivals: Mapping[str, Maker[C]]) -> Iterator[Measured[C]]:
        """Measure each case on each number of threads."""
        for case in cases:
            alone = math.nan
            for count in threads:
                calls, alive = calls_of(case, count, rivals, self.tolerance)
                seconds = fastest(calls)
                del calls, alive
                alone = seconds[OWN] if count == 1 else alone
                yield Measured(case, count, seconds, alone)

    def table(self, measured: Sequence[Measured[C]]) -> str:
        """Write one line for each case, in whose cells the numbers of threads follow each other."""
        others = list(self.rivals)[1:]
        lines = [head([self.title, "tensor", "copy", _COPIES, *others])]
        by_case: dict[tuple[str, str], list[Measured[C]]] = {}
        for each in measured:
            by_case.setdefault((each.case.label, each.tensor), []).append(each)
        for (label, tensor), found in by_case.items():
            copies = ", ".join(f"{each.copies:.1f}" for each in found)
            cells = (", ".join(each.times(rival) for each in found) for rival in others)
            shown = ("-" if set(cell) <= set("-, ") else cell for cell in cells)
            lines.append(row([label, tensor, f"{found[0].seconds['copy'] * 1e3:.2f} ms", copies, *shown]))
        return "\n".join(lines)
