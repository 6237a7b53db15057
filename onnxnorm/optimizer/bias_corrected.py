"""Corrects the biases of a result for int8, after its proof, and says of both how they stand to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnxnorm.errors import OnnxNormError, naming
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.optimizer.result import OptimizeResult

if TYPE_CHECKING:
    from onnxnorm.passes import Equalization
    from onnxnorm.runtime.inputs import GivenInputs

__all__ = ["bias_corrected", "check_samples"]

_UNPROVED = "verified is the model as it is before its biases are corrected for int8"


def check_samples(equalization: Equalization | None, calibration: GivenInputs | None) -> None:
    """Refuse to correct biases where no samples say what the layers read.

    Raises:
        OnnxNormError: there are none.
    """
    if equalization is not None and equalization.correct_biases is not None and calibration is None:
        raise OnnxNormError("biases are corrected by what samples show: give calibration (--calibration) as well")


def bias_corrected(
    result: OptimizeResult, equalization: Equalization | None, name: str, *, calibration: GivenInputs | None
) -> tuple[OptimizeResult, bool]:
    """Return the result with corrected biases, and whether any was; notes of it and of its report say what that does.

    Biases that bring the outputs no nearer, where weights are rounded, stay as they are.

    Args:
        result: of the passes, equalized and proved.
        equalization: with the choice; None, or one that asks for nothing, gives the result back as it is.
        name: what errors call the model.
        calibration: samples of inputs.

    Raises:
        OnnxNormError: the samples do not fit the model.
    """
    if equalization is None or equalization.correct_biases is None:
        return result, False
    from onnxnorm.prepare.bias_correction import correct_biases
    from onnxnorm.prepare.observe import samples_of

    scales = f"int8 weights with one scale for {_SCALES[equalization.correct_biases]}"
    with naming(name):
        model = load(result.held)
        samples = samples_of(to_proto(model), calibration)
        done = correct_biases(model, samples, per_channel=equalization.correct_biases == "channel")
    if not done.helps:
        told = f"no bias is corrected for {scales}: "
        why = (
            f"on the samples the outputs would be {done.after:.2g} off by the weights, and are {done.before:.2g} off"
            if done.layers
            else "no layer with a constant weight has one that can be"
        )
        return replace(result, notes=(*result.notes, told + why)), False
    note = (
        f"the biases of {done.layers} layers are corrected for {scales}: on the samples these weights put the outputs "
        f"{done.after:.2g} off instead of {done.before:.2g}, and the float model, as it was proved, is changed by "
        f"{done.change:.2g}"
    )
    if done.left:
        note += f"; {done.left} layers have no bias that could be corrected"
    report = result.report and replace(result.report, notes=(*result.report.notes, _UNPROVED))
    return replace(result, _result=model, notes=(*result.notes, note), report=report), True


_SCALES = {"tensor": "the tensor", "channel": "each channel"}
