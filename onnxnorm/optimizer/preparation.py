"""Prepares a model before and after the passes: preprocessing in front of it, and half precision for the result.

With its preprocessing in front of it all that follows is done, and proved, of the two. Half precision comes last: what
is proved is the result in its own types, and what rounding to the new ones costs is measured and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, naming
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.io.model_source import ModelSource
from onnxnorm.journal import Journal
from onnxnorm.model.domains import standard_opset
from onnxnorm.optimizer.result import OptimizeResult
from onnxnorm.prepare.preprocessing import Preprocessing, prepend
from onnxnorm.validate.choices import closest

if TYPE_CHECKING:
    from onnxnorm.passes import Equalization
    from onnxnorm.prepare.half import Stayed
    from onnxnorm.prepare.observe import Observed, Samples
    from onnxnorm.runtime.inputs import GivenInputs

__all__ = ["DTYPES", "Half", "equalization_of", "equalized", "in_half", "with_preprocessing"]

DTYPES = ("float16", "bfloat16")
_BFLOAT16_OPSET = 22
# Norms that are one node from an opset on, as the reasons name them.
_ONE_NODE = (("layer normalization", "a layer norm", 17), ("RMS normalization", "an RMS norm", 23))
_MOST_CHECKED = 2**31 - 2**20
_LIMITS = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: 3.3895314e38}
# Samples do not show the largest value that there will be.
_HEADROOM = 8.0


def with_preprocessing(source: ModelSource, preprocessing: Preprocessing | None) -> ModelSource:
    """Return a source of the model that takes what comes before the preprocessing; the same where there is none.

    Raises:
        OnnxNormError: the model has no input that the preprocessing fits.
    """
    if preprocessing is None:
        return source
    model = source.graph()
    with naming(source.name):
        prepend(model, preprocessing)
    made = ModelSource(model)
    made.name = source.name
    return made


@dataclass(frozen=True)
class Half:
    """The options of half precision, as `optimize` takes them."""

    dtype: ir.DataType
    keep_io_types: bool = False
    keep: tuple[str, ...] = ()

    @classmethod
    def of(cls, dtype: str | None, keep_io_types: bool = False, keep: Sequence[str] = ()) -> Half | None:
        """Make the options; None where no type is asked for.

        Raises:
            OnnxNormError: there is no such type, or options are given without one.
        """
        if dtype is None:
            if keep_io_types:
                raise OnnxNormError(
                    "keep_io_types (--keep-io-types) says what dtype leaves alone: give a dtype (--dtype)"
                )
            return None
        if dtype not in DTYPES:
            raise OnnxNormError(f"dtype must be {' or '.join(DTYPES)}, not {dtype!r}{closest(str(dtype), DTYPES)}")
        return cls(ir.DataType[dtype.upper()], keep_io_types, tuple(keep))


def in_half(
    result: OptimizeResult, half: Half | None, name: str, *, inputs: GivenInputs | None = None, judge: bool = True
) -> OptimizeResult:
    """Return the result in half precision, with notes of what stays in float32 and of what rounding costs.

    Args:
        result: of the passes, in float32.
        half: the options; None gives the result back as it is.
        name: what errors call the model.
        inputs: samples by which it is judged which values would overflow; by default a few random ones.
        judge: measure the error, in arithmetic that rounds the result of each operator.

    Raises:
        OnnxNormError: an output that was finite is not so any more.
    """
    if half is None:
        return result
    from onnxnorm.prepare.half import to_half
    from onnxnorm.prepare.observe import observe, samples_of

    with naming(name):
        message = to_proto(result.held)
        opset = standard_opset(message.opset_import)
        if half.dtype is ir.DataType.BFLOAT16 and opset < 13:
            raise OnnxNormError(f"opset {opset} has no bfloat16: give opset=22 (--opset 22)")
        samples = samples_of(message, inputs)
        names = [value for node in message.graph.node for value in node.output if value]
        observed = observe(message, samples, names)
        model = load(result.held)
        room = _LIMITS[half.dtype] / _HEADROOM
        scaled = _make_room(model, observed, room) if any(seen.largest > room for seen in observed.values()) else 0
        if scaled:
            observed = observe(to_proto(model), samples, names)
        converted = to_half(model, half.dtype, keep_io_types=half.keep_io_types, keep=half.keep, observed=observed)
        _check_valid(message, to_proto(model), half.dtype)
        notes = [*_told(converted.stayed, half, message)]
        if converted.masks:
            told = f"{converted.masks} constants that only take elements out of a softmax"
            notes.append(f"{told} are {converted.least:.5g} in {half.dtype.name.lower()}")
        if scaled:
            told = f"the channels of {scaled} nodes were scaled by powers of two, so that they have room"
            notes.insert(0, f"{told} in {half.dtype.name.lower()}")
        if judge:
            notes.append(_judged(message, to_proto(model), samples, half))
    return replace(result, _result=model, notes=(*result.notes, *notes))


def equalized(
    result: OptimizeResult,
    equalization: Equalization | None,
    name: str,
    *,
    target: str = "portable",
    calibration: GivenInputs | None = None,
) -> OptimizeResult:
    """Return the result with its channels equalized; the same where that was not asked for.

    Args:
        result: of the passes.
        equalization: the choices of the pass `equalize`.
        name: what errors call the model.
        target: the runtime whose idioms stay whole.
        calibration: samples of inputs, for the sizes of activations; None goes by the weights alone.

    Raises:
        OnnxNormError: the samples do not fit the model.
    """
    if equalization is None:
        return result
    from onnxnorm.passes import Equalize
    from onnxnorm.prepare.own_biases import own_biases

    model, journal = load(result.held), Journal()
    if calibration is not None:
        from onnxnorm.prepare.observe import observe, samples_of

        with naming(name):
            message = to_proto(model)
            samples = samples_of(message, calibration)
            observed = observe(
                message, samples, [value for node in message.graph.node for value in node.output if value]
            )
        known = {value: seen.along for value, seen in observed.items()}
        equalization = replace(equalization, activations=known)
    Equalize(journal, equalization, target=target)(model)
    own_biases(model)
    return replace(result, _result=model, rewrites=(*result.rewrites, *journal.rewrites))


def equalization_of(prepare: str | Equalization | None) -> Equalization | None:
    """Return the choices that `prepare` stands for; None where nothing is asked for.

    Raises:
        OnnxNormError: there is no such preparation.
    """
    from onnxnorm.passes import Equalization

    if prepare is None or isinstance(prepare, Equalization):
        return prepare
    if prepare != "int8":
        raise OnnxNormError(f"prepare must be 'int8' or a passes.Equalization, not {prepare!r}")
    return Equalization()


def _check_valid(before: onnx.ModelProto, after: onnx.ModelProto, dtype: ir.DataType) -> None:
    """Check that ONNX and onnxruntime take the model in half precision where they take it in its own types.

    Raises:
        OnnxNormError: one of them does not; a kernel that onnxruntime has not for the type is no reason.
    """
    from onnxnorm.runtime.unoptimized import NoKernelError, open_session

    def refused(message: onnx.ModelProto, check: Callable[[onnx.ModelProto], object]) -> Exception | None:
        try:
            check(message)
        except Exception as error:
            return error
        return None

    def checked(message: onnx.ModelProto) -> None:
        if message.ByteSize() < _MOST_CHECKED:
            onnx.checker.check_model(message, full_check=True)

    for check in (checked, lambda message: open_session(message, "off")):
        error = refused(after, check)
        if error is None or isinstance(error, NoKernelError) or refused(before, check) is not None:
            continue
        told = " ".join(str(error).split())
        name = dtype.name.lower()
        raise OnnxNormError(f"in {name} the model is not valid; keep nodes in float32 (keep=, --keep): {told[:200]}")


def _make_room(model: ir.Model, observed: Mapping[str, Observed], room: float) -> int:
    """Scale channels that come near to the end of the type by powers of two; return how many nodes that changes."""
    from onnxnorm.passes import Equalization, Equalize

    known = {value: seen.along for value, seen in observed.items()}
    journal = Journal()
    Equalize(journal, Equalization(powers_of_two=True, activations=known, room=room))(model)
    return len(journal.rewrites)


def _told(stayed: Sequence[Stayed], half: Half, message: onnx.ModelProto) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for each in stayed:
        by_reason.setdefault(each.reason, []).append(f"{each.op_type} {each.node!r}")
    for reason, nodes in by_reason.items():
        more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
        yield f"in float32 stays {', '.join(nodes[:4])}{more}: {reason}"
    opset = standard_opset(message.opset_import)
    for norm, short, first in _ONE_NODE:
        if opset < first and any(f"{norm}, which is written out" in each for each in by_reason):
            yield f"at opset {first} {short} is one node with float32 inside: opset={first}, --opset"
    lacks_types = half.dtype is ir.DataType.BFLOAT16 and opset < _BFLOAT16_OPSET
    if lacks_types and any("definition" in each for each in by_reason):
        yield f"from opset {_BFLOAT16_OPSET} on more operators take bfloat16: opset={_BFLOAT16_OPSET}, --opset"


def _judged(before: onnx.ModelProto, after: onnx.ModelProto, samples: Samples, half: Half) -> str:
    """Measure the error of the result, in arithmetic that rounds the result of each operator to its type."""
    from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error
    from onnxnorm.evaluate.rounded import RoundedEvaluator

    name, worst = half.dtype.name.lower(), 0.0
    try:
        exact, rounded = Float64Evaluator(before), RoundedEvaluator(after)
        for feeds in samples:
            wanted, got = exact.run(feeds), rounded.evaluate(feeds)
            for output, array in wanted.items():
                if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size:
                    continue
                finite = np.isfinite(array)
                if not np.isfinite(got[output][finite]).all():
                    raise OnnxNormError(
                        f"in {name} the output {output!r} overflows; keep nodes in float32 (keep=, --keep)"
                    )
                size = float(np.sqrt(np.mean(array[finite] ** 2))) if finite.any() else 0.0
                error = float(np.sqrt(np.mean((got[output][finite] - array[finite]) ** 2))) if finite.any() else 0.0
                worst = max(worst, error / size if size else error)
    except NoFloat64Error as error:
        return f"the error of {name} was not measured: {error}"
    return f"{name} costs a relative error of {worst:.2g}, where each operator rounds its result"
