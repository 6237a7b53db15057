"""Runs `onnxnorm run`."""

from __future__ import annotations

import argparse
import enum
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import UsageError, check_output
from onnxnorm.cli.pictures import PRESETS, favoured, read_labels
from onnxnorm.cli.run_folder import folder_among, run_folder
from onnxnorm.cli.run_options import add_run_options, providers_of
from onnxnorm.cli.tensor_files import positive, write_npz
from onnxnorm.errors import naming

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import onnx_ir as ir
    import onnxruntime  # type: ignore[import-untyped]

    from onnxnorm.runtime.inputs import Feeds

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "run": """run a model in onnxruntime on given or random inputs

Inputs that are not given are random and seeded, and dimensions that the model leaves open get sizes with which it runs,
the batch 1.""",
}


class _CustomOperators(str, enum.Enum):
    """The means by which the operators of this project's domain ran."""

    NONE = "none in the model"
    NATIVE = "native library"
    PORTABLE = "portable bodies"


@dataclass(frozen=True)
class _Tensor:
    """An input or output; the statistics leave NaN out, and are None where no number is left."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    mean: float | None
    nans: int


@dataclass(frozen=True)
class _Outcome:
    """The report of a run; latencies in milliseconds, over `repeat` runs after one that warms up."""

    model: str
    custom_operators: _CustomOperators
    native_library: str | None
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    repeat: int
    latency_median_ms: float
    latency_min_ms: float
    latency_max_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("model", metavar="model.onnx")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="name:file.npy",
        help="the array for an input; with --preprocess a picture too, or a folder of them, which runs one by one",
    )
    parser.add_argument(
        "--preprocess",
        choices=tuple(PRESETS),
        help="take pictures, scaled and cut to the size of the input, with the mean and deviation of this data set",
    )
    parser.add_argument("--top", type=positive, metavar="N", help="tell the N classes that an output favours")
    parser.add_argument("--labels", metavar="FILE", help="the names of the classes, one a line")
    parser.add_argument("--output", metavar="out.npz", help="write the outputs to this file, by their names")
    parser.add_argument(
        "--repeat",
        type=positive,
        default=10,
        metavar="N",
        help="timed runs, after one that warms up (default: %(default)s)",
    )
    add_run_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if arguments.output is not None:
        check_output(arguments.output)
    import onnx_ir as ir

    from onnxnorm.cli.feeds import candidate_feeds
    from onnxnorm.cli.tables import print_json, status
    from onnxnorm.io.load_and_save import load
    from onnxnorm.runtime.inputs import input_specs
    from onnxnorm.runtime.library import find_library
    from onnxnorm.runtime.turns import first_accepted

    # It is over before the runs that are timed.
    with status(f"running {arguments.model}"), naming(arguments.model):
        model = load(arguments.model)
        library = None if arguments.portable else find_library()
        specs = input_specs(ir.to_proto(model))
        candidates = candidate_feeds(arguments, specs)
        session = _make_session(arguments)
        folder = folder_among(arguments.input, [spec.name for spec in specs])
        if folder is not None:
            return run_folder(arguments, session, specs, *folder)
        if arguments.labels is not None and arguments.top is None:
            raise UsageError("--labels names the classes that --top N tells: give that too")
        accepted = first_accepted([(arguments.model, session)], candidates)
    outputs = dict(zip((entry.name for entry in session.get_outputs()), accepted.outputs, strict=True))
    latencies = [_timed(session, accepted.feeds) for _ in range(arguments.repeat)]
    if arguments.output is not None:
        write_npz(arguments.output, _arrays(outputs))
    outcome = _Outcome(
        model=arguments.model,
        custom_operators=_custom_operators(model, library),
        native_library=None if library is None else str(library),
        inputs=tuple(_summary(name, array) for name, array in accepted.feeds.items()),
        outputs=tuple(_summary(name, array) for name, array in outputs.items()),
        repeat=arguments.repeat,
        latency_median_ms=statistics.median(latencies),
        latency_min_ms=min(latencies),
        latency_max_ms=max(latencies),
    )
    top = () if arguments.top is None else favoured(outputs, arguments.top, read_labels(arguments.labels))
    if arguments.json:
        print_json({**vars(outcome), "favoured": top} if top else outcome)
    else:
        _print(outcome)
        for each in top:
            print(f"{each.output}: {each}")
    return 0


def _custom_operators(model: ir.Model, library: Path | None) -> _CustomOperators:
    if all(node.domain != "onnxnorm" for node in model.graph.all_nodes()):
        return _CustomOperators.NONE
    return _CustomOperators.PORTABLE if library is None else _CustomOperators.NATIVE


def _make_session(arguments: argparse.Namespace) -> onnxruntime.InferenceSession:
    import onnxruntime

    from onnxnorm.runtime.foreign_ops import options_with
    from onnxnorm.runtime.session import session

    options = onnxruntime.SessionOptions()
    options_with(arguments.custom_ops_library, options)
    options.log_severity_level = 4  # what goes wrong is raised and told in one line of our own
    if arguments.threads is not None:
        options.intra_op_num_threads = arguments.threads
    return session(
        arguments.model,
        portable=arguments.portable,
        providers=providers_of(arguments.provider),
        sess_options=options,
    )


def _timed(session: onnxruntime.InferenceSession, feeds: Feeds) -> float:
    """Measure the milliseconds of one run."""
    start = time.perf_counter()
    session.run(None, feeds)
    return (time.perf_counter() - start) * 1000


def _arrays(outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    import numpy as np

    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            raise UsageError(f"output {name!r} is a {type(value).__name__}, which an .npz file cannot hold")
    return outputs


def _summary(name: str, value: Any) -> _Tensor:
    import numpy as np

    if not isinstance(value, np.ndarray):  # a sequence, a map or an empty optional
        return _Tensor(
            name, type(value).__name__, (len(value),) if hasattr(value, "__len__") else (), None, None, None, 0
        )
    numbers = value.astype(np.float64) if value.dtype.kind in "fiub" else np.empty(0)
    numbers = numbers[~np.isnan(numbers)]
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs have no mean
        mean = float(numbers.mean()) if numbers.size else None
    return _Tensor(
        name=name,
        dtype=str(value.dtype),
        shape=value.shape,
        minimum=float(numbers.min()) if numbers.size else None,
        maximum=float(numbers.max()) if numbers.size else None,
        mean=mean,
        nans=int(np.isnan(value).sum()) if value.dtype.kind == "f" else 0,
    )


def _print(outcome: _Outcome) -> None:
    from onnxnorm.cli.tables import Table, format_shape, print_table

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.6g}"

    rows = [
        (
            role,
            tensor.name,
            tensor.dtype,
            format_shape(tensor.shape),
            number(tensor.minimum),
            number(tensor.maximum),
            number(tensor.mean),
            tensor.nans or "",
        )
        for role, tensors in (("input", outcome.inputs), ("output", outcome.outputs))
        for tensor in tensors
    ]
    print_table(Table.of("role name type shape >min >max >mean >NaN", rows))
    print(
        f"\nlatency: median {outcome.latency_median_ms:.3g} ms, "
        f"{outcome.latency_min_ms:.3g} to {outcome.latency_max_ms:.3g} ms, {outcome.repeat} runs"
    )
    print(f"custom operators: {outcome.custom_operators.value}")
