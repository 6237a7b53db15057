"""Files of the networks, made by PyTorch's exporters and onnxruntime's quantization, kept in a folder."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from bench.runtime.networks import HEADS, NETWORKS, WIDTH
from bench.runtime.timing import feeds

EXPORTERS = ("dynamo", "torchscript")
OPSETS = (14, 17, 20, 23)
QUANTIZATIONS = ("dynamic", "static")


@dataclass(frozen=True)
class Case:
    """A file to judge by, and how onnxruntime's transformer tool is to read it."""

    name: str
    path: Path
    tool: tuple[str, int, int] | None = None


class _Calibration(CalibrationDataReader):
    def __init__(self, path: Path) -> None:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._batches = iter([feeds(session.get_inputs())])

    def get_next(self) -> dict[str, object] | None:
        return next(self._batches, None)


def _settle(module: torch.nn.Module) -> None:
    """Give weights and statistics values that no runtime can take for a neutral element."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif name.endswith(("running_mean", "bias")) and tensor.ndim == 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def _export(name: str, exporter: str, opset: int, path: Path) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]
    module = network.build().eval()
    with torch.no_grad():
        _settle(module)
    dynamo = exporter == "dynamo"
    options = {"external_data": False, "verbose": False} if dynamo else {}
    torch.onnx.export(module, network.inputs(), str(path), dynamo=dynamo, opset_version=opset, **options)
    written = next(entry.version for entry in onnx.load(path).opset_import if entry.domain in ("", "ai.onnx"))
    if written != opset:
        raise ValueError(f"the exporter wrote opset {written}")


def _quantize(source: Path, kind: str, path: Path) -> None:
    if kind == "dynamic":
        quantize_dynamic(str(source), str(path))
    else:
        quantize_static(str(source), str(path), _Calibration(source), quant_format=QuantFormat.QDQ)


def _make(path: Path, make: Callable[[Path], None]) -> bool:
    """Make a file once; the reason why one cannot be made is left in a file beside it."""
    reason = path.with_suffix(".txt")
    if path.exists() or reason.exists():
        return path.exists()
    unfinished = path.with_suffix(".part")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            make(unfinished)
        unfinished.rename(path)
    except Exception as error:
        # Exporters raise anything.
        unfinished.unlink(missing_ok=True)
        reason.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
    return path.exists()


def cases(
    folder: Path,
    names: list[str],
    exporters: tuple[str, ...] = EXPORTERS,
    opsets: tuple[int, ...] = OPSETS,
    quantizations: tuple[str, ...] = QUANTIZATIONS,
) -> Iterator[Case]:
    """Yield a file of each network before the next exporter's and the next opset's, so that none comes late."""
    folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    for opset, exporter, name in itertools.product(opsets, exporters, names):
        kind = NETWORKS[name].tool
        tool = None if kind is None else (kind, HEADS, WIDTH)
        title = f"{name}-{exporter}-{opset}"
        path = folder / f"{title}.onnx"
        if not _make(path, partial(_export, name, exporter, opset)):
            continue
        yield Case(title, path, tool)
        for quantization in quantizations:
            quantized = folder / f"{title}-{quantization}.onnx"
            if _make(quantized, partial(_quantize, path, quantization)):
                yield Case(quantized.stem, quantized, tool)


def demo(folder: Path) -> Iterator[Case]:
    """Files of the networks of models/, by PyTorch's exporter."""
    from models import MODELS

    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, path: Path) -> None:
        spec = MODELS[name]
        torch.onnx.export(spec.build().eval(), spec.example_inputs(), str(path), dynamo=True, external_data=False)

    for name in MODELS:
        path = folder / f"models-{name}.onnx"
        if _make(path, partial(write, name)):
            yield Case(path.stem, path)


def planned(folder: Path) -> Iterator[str]:
    """Yield the names of all files of this bench but for those that could not be made."""
    from models import MODELS

    def is_made(name: str) -> bool:
        return not (folder / f"{name}.txt").exists()

    for parts in itertools.product(NETWORKS, EXPORTERS, map(str, OPSETS)):
        title = "-".join(parts)
        if is_made(title):
            yield title
            yield from filter(is_made, (f"{title}-{quantization}" for quantization in QUANTIZATIONS))
    yield from filter(is_made, (f"models-{name}" for name in MODELS))
