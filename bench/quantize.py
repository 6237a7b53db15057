"""int8 and half precision after folding: accuracy and signal-to-noise, with and without equalized channels.

    python -m bench quantize [--only NET ...] [--epochs 25] [--seed 0]
    python -m bench quantize --out docs/quantization.md

Small nets in the styles of MobileNetV2, ResNet and RepVGG are trained on scikit-learn's digits (`pip install
scikit-learn`), exported with their norms, and quantized by onnxruntime's own `quantize_static` with one scale for each
tensor and for each channel. `rescaled` multiplies their channels by random positive factors that leave the float
function as it is; `biases corrected` takes the mean error of rounded weights off the biases. Signal-to-noise is that of
the logits against the float model, in decibels. The second table is half precision against the converters of
onnxruntime and onnxconverter-common, in arithmetic that rounds each operator, for these nets and for transformers as
both of PyTorch's exporters write them.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

import onnxnorm
from bench import half_precision
from bench.fold import TOOLS
from bench.tables import head, print_head, print_row, row
from onnxnorm.affine import apply
from onnxnorm.affine.freedom import free_region
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.passes import Equalization
from onnxnorm.passes.equalize import channels_of, gauge_of

__all__ = ["NETS", "int8", "rescaled", "signal_to_noise"]

_CALIBRATED = 128
_INT8 = ("net", "form", "float %", "int8 per tensor %", "dB", "int8 per channel %", "dB")
_BEGIN = "<!-- Written by `python -m bench quantize --out docs/quantization.md` from here on. -->"
_END = "<!-- To here. -->"
# Of a hundred images, and in decibels, by which forms may differ: chance decides about single images.
_ONE = 1.0

Row = tuple[object, ...]


def _norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.body, self.activation = body, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


class _RepVgg(nn.Module):
    """A 3x3, a 1x1 and an identity branch, each with its norm, added up before the ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_norm(channels, channels), _norm(channels, channels, 1), nn.BatchNorm2d(channels)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(sum(branch(x) for branch in self.branches))


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def _mobilenet() -> nn.Module:
    def inverted(width: int) -> nn.Module:
        inner = 4 * width
        filtered = [_norm(width, inner, 1), nn.ReLU(), _norm(inner, inner, groups=inner), nn.ReLU()]
        return _Residual(nn.Sequential(*filtered, _norm(inner, width, 1)), nn.Identity())

    down = [_norm(16, 64, 1), nn.ReLU(), _norm(64, 64, 3, 2, 64), nn.ReLU(), _norm(64, 24, 1)]
    blocks = [inverted(16), inverted(16), *down, inverted(24), inverted(24)]
    return nn.Sequential(_norm(1, 16), nn.ReLU(), *blocks, _norm(24, 64, 1), nn.ReLU(), *_head(64))


def _resnet() -> nn.Module:
    def basic(width: int) -> nn.Module:
        return _Residual(nn.Sequential(_norm(width, width), nn.ReLU(), _norm(width, width)), nn.ReLU())

    blocks = [basic(16), basic(16), _norm(16, 32, 3, 2), nn.ReLU(), basic(32), basic(32)]
    return nn.Sequential(_norm(1, 16), nn.ReLU(), *blocks, *_head(32))


def _repvgg() -> nn.Module:
    blocks = [_RepVgg(16), _RepVgg(16), _norm(16, 32, 3, 2), nn.ReLU(), _RepVgg(32), _RepVgg(32)]
    return nn.Sequential(_norm(1, 16), nn.ReLU(), *blocks, *_head(32))


NETS: Mapping[str, Callable[[], nn.Module]] = {"mobilenet": _mobilenet, "resnet": _resnet, "repvgg": _repvgg}


def trained(net: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int) -> nn.Module:
    """Train the net; return it in evaluation mode."""
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
    return net.eval()


def rescaled(model: onnx.ModelProto, *, decades: float = 1.5, seed: int = 0) -> onnx.ModelProto:
    """Return the model with its channels multiplied by random positive factors that cancel out."""
    work = load(model)
    infer_shapes(work)
    facts, random = Facts(work), np.random.default_rng(seed)
    done: set[Any] = set()
    for value, axis, channels in list(channels_of(work.graph, facts)):
        if value in done:
            continue
        logs = random.uniform(-decades, decades, channels) * math.log2(10)
        region = free_region(value, gauge_of(logs, axis, facts.rank(value) or 0), facts)
        if region is not None and apply(region, facts) is None:
            done.update(region.gauges)
    return to_proto(work)


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, images: np.ndarray) -> None:
        self._feeds = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def int8(model: onnx.ModelProto, images: np.ndarray, *, per_channel: bool) -> onnx.ModelProto:
    """Return the model quantized by onnxruntime, calibrated on these images."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source, target, _Samples(model.graph.input[0].name, images), quant_format=QuantFormat.QDQ,
            per_channel=per_channel, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(target)


def _prepared_by_onnxruntime(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model as onnxruntime prepares it for its quantizer, which does not take FusedConv."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "prepared.onnx")
        quant_pre_process(model, target)
        return onnx.load(target)


def outputs_of(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Run the model as it stands, each quantized pattern in floating point."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def signal_to_noise(wanted: np.ndarray, got: np.ndarray) -> float:
    """Return the signal-to-noise ratio in decibels."""
    noise = float(np.sum((wanted - got) ** 2))
    return 10 * math.log10(float(np.sum(wanted**2)) / noise) if noise else math.inf


def _forms(model: onnx.ModelProto, images: np.ndarray) -> dict[str, Callable[[bool], onnx.ModelProto]]:
    """Return the float models to quantize, for one scale or one for each channel, by what was done to them."""
    name = model.graph.input[0].name
    samples = [{name: image[None]} for image in images]
    forms = {"as exported": model}
    for tool, fold in {**TOOLS, "onnxruntime": _prepared_by_onnxruntime}.items():
        if tool != "onnxnorm" and importlib.util.find_spec(tool) is not None:
            try:
                forms[f"folded by {tool}"] = fold(model)
            except Exception as error:
                print(f"{tool}: {str(error)[:100]}")
    forms["folded, branches apart"] = onnxnorm.fold(model, verify=False).model
    folded = forms["optimized"] = onnxnorm.optimize(model, verify=False).model
    forms["optimized, equalized"] = onnxnorm.optimize(model, prepare="int8").model
    forms["optimized, equalized with data"] = onnxnorm.optimize(
        model, prepare=Equalization(strength=0.3), calibration=samples, verify=False
    ).model
    forms["merged, equalized"] = onnxnorm.optimize(folded, prepare="int8", verify=False).model
    forms["rescaled"] = rescaled(folded)
    forms["rescaled, equalized"] = onnxnorm.optimize(forms["rescaled"], prepare="int8", verify=False).model
    made: dict[str, Callable[[bool], onnx.ModelProto]] = {
        form: lambda _, candidate=candidate: candidate for form, candidate in forms.items()
    }
    for form, start in (("optimized", model), ("rescaled", forms["rescaled"])):
        made[f"{form}, equalized, biases corrected"] = partial(_corrected, start, samples)
    return made


def _corrected(model: onnx.ModelProto, samples: Sequence[dict[str, np.ndarray]], per_channel: bool) -> onnx.ModelProto:
    """Return the model equalized by its weights alone, with biases corrected for int8."""
    choices = Equalization(strength=0.0, correct_biases="channel" if per_channel else "tensor")
    return onnxnorm.optimize(model, prepare=choices, calibration=samples, verify=False).model


def measure(
    name: str, model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray, calibration: np.ndarray
) -> Iterator[Row]:
    """Yield a row for each form of the model, as it is printed."""
    wanted = outputs_of(model, images)
    for form, make in _forms(model, calibration).items():
        cells = [name, form, f"{100 * np.mean(outputs_of(make(False), images).argmax(1) == labels):.1f}"]
        for per_channel in (False, True):
            got = outputs_of(int8(make(per_channel), calibration, per_channel=per_channel), images)
            cells += [f"{100 * np.mean(got.argmax(1) == labels):.1f}", f"{signal_to_noise(wanted, got):.1f}"]
        print_row(*cells)
        yield tuple(cells)


def less_accurate(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each form of this project that int8 harms more than the model as exported.

    Signal-to-noise counts where channels are equalized for int8.
    """
    plain = {cells[0]: cells for cells in rows if cells[1] == "as exported"}
    found = []
    for cells in rows:
        if not str(cells[1]).startswith(("folded, ", "optimized")) or cells[0] not in plain:
            continue
        for place in (3, 4, 5, 6) if str(cells[1]).startswith("optimized, equalized") else (3, 5):
            mine, theirs = float(str(cells[place])), float(str(plain[cells[0]][place]))
            if mine < theirs - _ONE:
                found.append(f"{cells[0]}, {cells[1]}: {_INT8[place]} {mine} where the model as exported has {theirs}")
    return found


def document(page: str, command: str, rows: Sequence[Row], halves: Sequence[Row]) -> str:
    """Return the page with new tables between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    tables = [
        "\n".join((head(titles), *map(row, found))) for titles, found in ((_INT8, rows), (half_precision.HEAD, halves))
    ]
    text = f"Printed by `{command}`; the second table is half precision:"
    return f"{before}{_BEGIN}\n\n{text}\n\n{tables[0]}\n\n{tables[1]}\n\n{_END}{rest.partition(_END)[2]}"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, of values between 0 and 1."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[:, None] / 16).astype(np.float32), found.target.astype(np.int64)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench quantize", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=tuple(NETS), default=tuple(NETS))
    parser.add_argument("--cache", type=Path, help="keeps the exported transformers, as `bench runtime --cache` does")
    parser.add_argument("--out", type=Path, help="a page whose tables are written anew, such as docs/quantization.md")
    arguments = parser.parse_args(words)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    images, labels = digits()
    order = np.random.default_rng(arguments.seed).permutation(len(images))
    images, labels = images[order], labels[order]
    tested, seen = slice(0, 360), slice(360, None)
    models = {}
    for name in arguments.only:
        torch.manual_seed(arguments.seed)
        net = trained(NETS[name](), images[seen], labels[seen], arguments.epochs)
        models[name] = onnxnorm.export(net, (torch.zeros(1, 1, 8, 8),))
    calibration = images[seen][:_CALIBRATED]
    print_head(*_INT8)
    rows = [
        cells
        for name, model in models.items()
        for cells in measure(name, model, images[tested], labels[tested], calibration)
    ]
    print()
    print_head(*half_precision.HEAD)
    halves = [cells for name, model in models.items() for cells in half_precision.rows(name, model)]
    with tempfile.TemporaryDirectory() as folder:
        for name, model in half_precision.exported(arguments.cache or Path(folder)):
            halves.extend(half_precision.rows(name, model))
    if arguments.out is not None:
        command = shlex.join(["python", "-m", "bench", "quantize", *(["--epochs", str(arguments.epochs)])])
        page = arguments.out.read_text(encoding="utf-8")
        arguments.out.write_text(document(page, command, rows, halves), encoding="utf-8")
    if harmed := less_accurate(rows):
        print("\n" + "\n".join(harmed))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
