"""Makes the channels of each tensor alike in size, by positive scales that are moved from weights to weights.

Before: Conv (W1) -> Relu -> Conv (W2), where channels of W1 and W2 differ much in range. After: the same nodes, with
rows of W1 times s and columns of W2 over s. Algebra: max(s x, 0) = s max(x, 0) for s > 0; what else scales pass, and
what has to change with them (a residual stream, the branches of a join), the affine engine knows. Source: Nagel et al.
2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"; Xiao et al. 2022, "SmoothQuant".

For each channel a is the size of the rows that make it, A that of its activations where they are known, b that of the
columns that read it, each relative to its tensor. By data alone s = sqrt(b / a). With activations, by the strength t,
log s = ((1 - t) (log b - log a) - t log A) / (2 - t): all three come near to each other, as their weights say.
Powers of two round nothing. Conditions: every party of a value takes the scales, or nothing is done there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine import ChannelAffine, Gauge, Region, apply
from onnxnorm.affine.freedom import free_region
from onnxnorm.affine.interface import Constant, Scaling
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Journal
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.validate.choices import INT8_SCALES

__all__ = ["Equalization", "Equalize", "channels_of", "gauge_of"]

_NAME = "equalize"
_MAKERS = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": -1, "MatMul": -1, "LayerNormalization": -1, "RMSNormalization": -1,
    "SimplifiedLayerNormalization": -1,
}  # fmt: skip
_SWEEPS = 4
# Scales nearer to one than this change no step of quantization.
_DONE = 0.02
_MOST = 12.0

_Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Equalization:
    """The choices of the pass.

    Attributes:
        strength: from 0 (weights alone) to 1 (activations alone); of use where activations are known.
        powers_of_two: whether scales are powers of two, so that no weight is rounded.
        activations: the largest magnitudes of values by their names, for each axis a vector or None.
        room: instead of evenness, the size that no activation may exceed.
        correct_biases: what `optimize` does to the biases after the proof, where samples are given: takes off the mean
            error of weights rounded to int8 with one scale for the "tensor" or for each "channel"; None leaves them.
    """

    strength: float = 0.5
    powers_of_two: bool = False
    activations: Mapping[str, list[_Vector | None]] = field(default_factory=dict)
    room: float | None = None
    correct_biases: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise OnnxNormError(f"the strength of an equalization lies between 0 and 1, not at {self.strength}")
        if self.correct_biases not in (None, *INT8_SCALES):
            raise OnnxNormError(f"correct_biases must be {' or '.join(INT8_SCALES)}, not {self.correct_biases!r}")


class Equalize(JournaledPass):
    """Moves positive scales over every value whose parties all take them."""

    def __init__(
        self,
        journal: Journal | None = None,
        equalization: Equalization | None = None,
        *,
        target: str = "portable",
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what was scaled.
            equalization: the choices.
            target: the runtime whose idioms stay whole.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._choices = equalization or Equalization()
        self._target = target

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        infer_shapes(model)
        facts = self._facts(model)
        units = units_in(model, facts, self._target)
        told: set[ir.Node] = set()
        # What was known of activations holds for the values as they were: each scale changes it.
        scales: dict[ir.Value, _Vector] = {}
        for _ in range(_SWEEPS if self._choices.room is None else 1):
            largest, done = 0.0, set[ir.Value]()
            for value, axis, channels in list(channels_of(model.graph, facts)):
                if value in done:
                    continue
                labels = _labels(channels)
                region = free_region(value, gauge_of(labels, axis, facts.rank(value) or 0), facts, units)
                if region is None:
                    continue
                done.update(region.gauges)
                logs = self._scales(region, labels, scales)
                if logs is None or np.abs(logs).max() < _DONE:
                    continue
                final = free_region(value, gauge_of(logs, axis, facts.rank(value) or 0), facts, units)
                if final is None or apply(final, facts) is not None:
                    continue
                largest = max(largest, float(np.abs(logs).max()))
                for each, gauge in final.gauges.items():
                    scales[each] = scales.get(each, np.zeros(())) + _logs(gauge)
                self._tell(value, logs, final, told)
            if largest < _DONE:
                break
        return ir.passes.PassResult(model, modified=bool(told))

    def _tell(self, value: ir.Value, logs: _Vector, region: Region, told: set[ir.Node]) -> None:
        node = value.producer()
        if node is None or node in told:
            return
        told.add(node)
        widest = float(np.exp2(np.abs(logs).max()))
        into = f"{len(region.edits)} nodes that make or read them"
        self._journal.rewrite(_NAME, node, node.op_type, f"its channels are scaled by up to {widest:.3g}, with {into}")

    def _scales(self, region: Region, labels: _Vector, scales: Mapping[ir.Value, _Vector]) -> _Vector | None:
        """Return the logarithms of the scales of the channels; None where nothing says what they should be."""
        sizes = _Sizes(labels)
        for node, edit in region.edits.items():
            for constant in edit.inputs:
                if isinstance(constant, Constant) and constant.role == "weight":
                    made = constant.compute()
                    if isinstance(made, Scaling):
                        sizes.add_weight(made, node)
        activations = sizes.activations(region, self._choices.activations, scales)
        if self._choices.room is not None:
            over = np.where(np.isfinite(activations), activations - np.log2(self._choices.room), 0.0)
            logs = -np.maximum(over, 0.0)
            return np.asarray(np.floor(logs)) if logs.any() else None
        rows, columns, known = sizes.rows(), sizes.columns(), np.isfinite(activations)
        if known.any():
            activations = activations - activations.max()
        strength = np.where(known, self._choices.strength, 0.0)
        if not np.isfinite(columns).any():
            return None
        a, b = np.where(np.isfinite(rows), rows, 0.0), np.where(np.isfinite(columns), columns, 0.0)
        if not np.isfinite(rows).any():
            # A norm makes the value: its parameters are not quantized.
            if not known.any():
                return None
            logs = (1.0 - strength) * b - strength * np.where(known, activations, 0.0)
        else:
            taken = np.where(known, activations, 0.0)
            logs = ((1.0 - strength) * (b - a) - strength * taken) / (2.0 - strength)
        logs = np.where(np.isfinite(columns) | known, logs, 0.0)
        if not sizes.joined:
            # One factor for all channels of a tensor is of no consequence.
            logs = logs - np.median(logs)
        logs = np.clip(logs, -_MOST, _MOST)
        return np.asarray(np.round(logs)) if self._choices.powers_of_two else logs


def channels_of(graph: ir.Graph, facts: Facts) -> Iterator[tuple[ir.Value, int, int]]:
    """Yield the values that linear operators and norms make, with the axis of their channels and its extent."""
    for node in graph:
        axis = _MAKERS.get(node.op_type) if is_standard(node) else None
        if axis is None or node.outputs[0].dtype is None:
            continue
        value = node.outputs[0]
        shape = facts.shape(value)
        if shape is None or len(shape) < 2:
            continue
        extent = shape[axis]
        if isinstance(extent, int) and extent > 1:
            yield value, axis % len(shape), extent


def _labels(channels: int) -> _Vector:
    """Return logarithms that tell channels apart, also as reciprocals."""
    labels: _Vector = np.random.default_rng(0).permutation(np.linspace(0.3, 0.9, channels))
    return labels


def gauge_of(logs: _Vector, axis: int, rank: int) -> Gauge:
    """Return the gauge whose scales have these logarithms, of base two, along an axis."""
    return Gauge.new(ChannelAffine.along(axis, np.exp2(logs), np.zeros(logs.size), rank))


def _logs(gauge: Gauge) -> _Vector:
    """Return the logarithms of a gauge's scales as they broadcast to its value."""
    assert gauge.to_new is not None
    return np.log2(gauge.to_new.scale)


class _Sizes:
    """The logarithms of the sizes that each channel has where it is made and where it is read."""

    def __init__(self, labels: _Vector) -> None:
        self._labels = labels
        order = np.argsort(labels)
        self._sorted, self._order = labels[order], order
        self._rows: list[_Vector] = []
        self._columns: list[_Vector] = []
        self.joined = False
        """Whether a tensor has other channels beside these."""

    def channels(self, logs: _Vector) -> npt.NDArray[np.int64] | None:
        """Return which channel each label stands for, -1 for a label of zero; None where one stands for none."""
        place = np.clip(np.searchsorted(self._sorted, logs), 1, max(self._sorted.size - 1, 1))
        nearer = np.abs(self._sorted[place - 1] - logs) <= np.abs(self._sorted[place] - logs)
        place = np.where(nearer, place - 1, place)
        known, apart = np.abs(self._sorted[place] - logs) <= 1e-9, np.abs(logs) <= 1e-9
        # What is joined to the channels is none of them.
        self.joined |= bool(apart.any())
        return np.where(apart, -1, self._order[place]) if np.all(known | apart) else None

    def add_weight(self, made: Scaling, node: ir.Node) -> None:
        logs = np.log2(made.factors)
        axes = [axis for axis, extent in enumerate(logs.shape) if extent > 1]
        if len(axes) != 1 or not made.array.size:
            return
        (axis,) = axes
        vector = logs.reshape(-1)
        makes = bool(np.all(vector > -1e-9))
        channels = self.channels(vector if makes else -vector)
        if channels is None:
            return
        others = tuple(each for each in range(made.array.ndim) if each != axis)
        sizes = np.abs(np.asarray(made.array, np.float64)).max(axis=others)
        largest = sizes.max()
        if not np.isfinite(largest) or largest <= 0.0:
            return
        found = np.full(self._labels.size, -np.inf)
        with np.errstate(divide="ignore"):
            np.maximum.at(found, channels[channels >= 0], np.log2(sizes / largest)[channels >= 0])
        (self._rows if makes else self._columns).append(found)

    def rows(self) -> _Vector:
        return _mean(self._rows, self._labels.size)

    def columns(self) -> _Vector:
        return _mean(self._columns, self._labels.size)

    def activations(
        self, region: Region, known: Mapping[str, list[_Vector | None]], scales: Mapping[ir.Value, _Vector]
    ) -> _Vector:
        """Return the largest of the logarithms of what each channel comes to in the values of the region."""
        found = np.full(self._labels.size, -np.inf)
        for value, gauge in region.gauges.items():
            axes = known.get(value.name or "")
            if axes is None or len(gauge.axes) != 1 or len(axes) != gauge.any.rank:
                continue
            (axis,) = gauge.axes
            sizes, channels = axes[axis], self.channels(_logs(gauge).reshape(-1))
            if sizes is None or channels is None or sizes.size != channels.size:
                continue
            with np.errstate(divide="ignore"):
                own = np.log2(sizes)
            if value in scales:
                own = own + scales[value].reshape(-1)
            np.maximum.at(found, channels[channels >= 0], own[channels >= 0])
        return found


def _mean(found: list[_Vector], channels: int) -> _Vector:
    """Return the mean over the tensors that have a channel; minus infinity where none has."""
    if not found:
        return np.full(channels, -np.inf)
    stacked = np.stack(found)
    there = np.isfinite(stacked)
    total = np.where(there, stacked, 0.0).sum(axis=0)
    return np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), -np.inf)
