"""Runs ONNX's backend suite through the project: each model optimized for each target and converted to opsets.

    python -m bench suites                        every model
    python -m bench suites --every 40             every 40th, as the tests take them
    python -m bench suites --every 4 --first 3    the last of four parts
    python -m bench suites --only gelu            those with that in their names

A model counts where onnxruntime (its optimizations off) runs the original and gives the outputs that the suite
expects. Then each result has to give them too, within the suite's tolerances; and a conversion that is refused must not
pass when nothing but the number of the opset is changed. Models run in worker processes: one that crashes or
hangs is told, and the next goes on.
"""

from __future__ import annotations

import argparse
import json
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
from onnx import numpy_helper

OPSETS = (13, 17, 21, 23, onnx.defs.onnx_opset_version())
SECONDS = 120.0
# What onnxruntime says of an operator or opset that it lacks: nothing can be told of the result then.
_LACKING = ("NOT_IMPLEMENTED", "Could not find an implementation", "only *guarantees* support", "is not a registered")


def data_folder() -> Path:
    """Return the folder of the suite's models, which the onnx package brings."""
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def write_cases(folder: Path) -> list[str]:
    """Write the suite's models of single nodes into the folder, as the suite makes them; return their names."""
    import warnings

    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found = []
    for case in cases:
        if case.model is None or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        record = (case.model.SerializeToString(), list(inputs), list(outputs), case.rtol, case.atol)
        (folder / f"{case.name}.pickle").write_bytes(pickle.dumps(record))
        found.append(f"node/{case.name}")
    root = data_folder()
    found += [str(path.parent.relative_to(root)) for path in root.glob("*/*/model.onnx")]
    return sorted(name for name in found if name.startswith("node/") or (root / name / "test_data_set_0").is_dir())


def _read(path: Path, info: onnx.ValueInfoProto) -> object:
    kind, data = info.type.WhichOneof("value"), path.read_bytes()
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


@dataclass(frozen=True)
class _Case:
    model: onnx.ModelProto
    feeds: dict[str, object]
    want: list[object]
    rtol: float = 1e-3
    atol: float = 1e-7


def _plain(value: object, info: onnx.ValueInfoProto) -> object:
    """As onnxruntime takes it: of the types that NumPy lacks, the suite gives those of another library."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _case(name: str, folder: Path) -> _Case:
    kind, _, short = name.partition("/")
    if kind != "node":
        model = onnx.load(data_folder() / name / "model.onnx")
        return _Case(model, *_data(data_folder() / name / "test_data_set_0", model))
    message, inputs, outputs, rtol, atol = pickle.loads((folder / f"{short}.pickle").read_bytes())
    model = onnx.ModelProto.FromString(message)
    feeds = {info.name: _plain(value, info) for info, value in zip(model.graph.input, inputs, strict=False)}
    return _Case(model, feeds, [_plain(v, i) for v, i in zip(outputs, model.graph.output, strict=False)], rtol, atol)


def _data(data: Path, model: onnx.ModelProto) -> tuple[dict[str, object], list[object]]:
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in initialized]
    feeds = {
        info.name: _read(data / f"input_{i}.pb", info)
        for i, info in enumerate(inputs)
        if (data / f"input_{i}.pb").exists()
    }
    return feeds, [_read(data / f"output_{i}.pb", info) for i, info in enumerate(model.graph.output)]


def _run(model: onnx.ModelProto, feeds: dict[str, object]) -> list[object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def _differs(got: object, want: object, rtol: float, atol: float) -> str | None:
    if isinstance(want, (list, tuple)) or isinstance(got, (list, tuple)):
        if not isinstance(got, (list, tuple)) or not isinstance(want, (list, tuple)) or len(got) != len(want):
            return "another length of sequence"
        return next((text for a, b in zip(got, want, strict=True) if (text := _differs(a, b, rtol, atol))), None)
    if want is None or got is None:
        return None if want is None and got is None else "one is empty"
    a, b = np.asarray(got), np.asarray(want)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype}{list(a.shape)} in place of {b.dtype}{list(b.shape)}"
    if b.dtype.kind in "OSUb":
        return None if np.array_equal(a, b) else "other elements"
    a, b = a.astype(np.float64), b.astype(np.float64)
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return f"off by {np.nanmax(np.abs(a - b)):.3g}"


def _outcome(model: onnx.ModelProto, case: _Case) -> str | None:
    """Return None where the model is valid and gives what is wanted, "lacking ..." where it cannot be run here."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        return f"invalid: {' '.join(str(error).split())[:160]}"
    try:
        got = _run(model, case.feeds)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        return f"lacking: {text}" if any(sign in text for sign in _LACKING) else f"does not run: {text}"
    pairs = zip(got, case.want, strict=True)
    return next((f"wrong: {text}" for a, b in pairs if (text := _differs(a, b, case.rtol, case.atol))), None)


def examine(name: str, folder: Path) -> list[tuple[str, str, str]]:
    """Return what came of a model: for each step its name, a verdict and a detail.

    The verdicts: "skipped" (of the original), "right", "refused", "lacking" (onnxruntime cannot run the result), and
    the faults "wrong", "needless" (a refusal that the number alone disproves) and "error".
    """
    import onnxnorm
    from onnxnorm.passes.targets import TARGETS

    try:
        case = _case(name, folder)
        problem = _outcome(case.model, case)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        return [("original", "skipped", problem)]
    found = []
    steps: list[tuple[str, dict[str, object], int | None]] = [
        *((f"target {target}", {"target": target}, None) for target in TARGETS),
        *((f"opset {opset}", {"passes": (), "opset": opset}, opset) for opset in OPSETS),
    ]
    for step, options, opset in steps:
        try:
            result = onnxnorm.optimize(case.model, **options, verify=False).model  # type: ignore[arg-type]
        except onnxnorm.OnnxNormError as error:
            found.append((step, *_refusal(case, opset, str(error))))
            continue
        except Exception as error:
            found.append((step, "error", f"{type(error).__name__}: {error}"))
            continue
        problem = _outcome(result, case)
        verdict = "right" if problem is None else "lacking" if problem.startswith("lacking") else "wrong"
        found.append((step, verdict, problem or ""))
    return found


def _refusal(case: _Case, opset: int | None, reason: str) -> tuple[str, str]:
    if opset is None:
        return "error", reason
    renumbered = onnx.ModelProto()
    renumbered.CopyFrom(case.model)
    for imports in (renumbered.opset_import, *(function.opset_import for function in renumbered.functions)):
        for entry in imports:
            if entry.domain in ("", "ai.onnx"):
                entry.version = opset
    renumbered.ir_version = max(renumbered.ir_version, 10) if opset > 20 else renumbered.ir_version
    return ("needless" if _outcome(renumbered, case) is None else "refused"), reason


FAULTS = frozenset({"wrong", "needless", "error"})


def _worker() -> None:
    for line in sys.stdin:
        print(json.dumps(examine(line.strip(), Path(sys.argv[1]))), flush=True)


class _Worker:
    """A process that examines one model after the other, started anew where one ends or blocks it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def examine(self, name: str) -> list[tuple[str, str, str]]:
        if self._process is None:
            command = [sys.executable, "-c", "from bench.suites import _worker; _worker()", str(self._folder)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            late.cancel()
        if not answer:
            self.close()
            return [("process", "error", f"crashed, or took more than {SECONDS:.0f} s")]
        return [(step, verdict, detail) for step, verdict, detail in json.loads(answer)]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def run(chosen: Sequence[str], folder: Path, workers: int = 2) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Examine the models in worker processes; yield each name with what came of it."""
    pending: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, list[tuple[str, str, str]]]] = queue.SimpleQueue()
    for name in chosen:
        pending.put(name)

    def work() -> None:
        worker = _Worker(folder)
        try:
            while True:
                try:
                    name = pending.get_nowait()
                except queue.Empty:
                    return
                done.put((name, worker.examine(name)))
        finally:
            worker.close()

    for _ in range(workers):
        threading.Thread(target=work, daemon=True).start()
    for _ in chosen:
        yield done.get()


def main(argv: Sequence[str] | None = None) -> int:
    """Print every fault and a table of the verdicts; return 1 where there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m bench suites", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th model in the order of names")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="begin with the K-th, counted from 0")
    parser.add_argument("--only", default="", metavar="TEXT", help="models with that in their names")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes at a time (default 2)")
    parser.add_argument("--refusals", action="store_true", help="print every refusal too")
    options = parser.parse_args(argv)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as made:
        chosen = [name for name in write_cases(Path(made))[options.first :: options.every] if options.only in name]
        for name, found in run(chosen, Path(made), options.workers):
            for step, verdict, detail in found:
                counts.setdefault(step, Counter())[verdict] += 1
                if verdict in FAULTS or (options.refusals and verdict in ("refused", "skipped", "lacking")):
                    print(f"{verdict:9}{name}  {step}: {detail}", flush=True)
    print(f"{len(chosen)} models")
    for step, verdicts in sorted(counts.items()):
        print(f"  {step:22}" + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    return int(any(FAULTS & verdicts.keys() for verdicts in counts.values()))
