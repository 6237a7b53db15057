"""Checks that an exported model computes what the module computes.

Both run on the example inputs, and on longer ones along the open axes.

Two float32 programs never agree to the last bit, and no fixed tolerance tells rounding from a mistake in every network.
Where the two differ by more than a few roundings of the largest value, the module is run in double precision against a
float64 evaluation of the model: there rounding is gone, and what is left is a mistake. The unit is the rounding of
float32 even so, since ONNX keeps constants such as epsilon in float32.

A few roundings of a half type would hide a wrong epsilon, so those are always compared in double precision. There the
model may differ by as much as the module's own results do: what it computes from its weights at every call, such as the
scale of a frozen BatchNorm, is a rounded constant of the model. Under autocast all weights are; there the model is
evaluated with every result rounded as PyTorch rounds it, and may differ from the module by as much as rounding changes
in the two of them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch.utils import _pytree

from onnxnorm.errors import OnnxNormError, OnnxNormWarning
from onnxnorm.evaluate.evaluator import Float64Evaluator
from onnxnorm.evaluate.rounded import RoundedEvaluator, has_halves
from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.differences import ROUNDINGS, are_equal, difference_between, distances, half_slack, half_unit
from onnxnorm.runtime.unoptimized import PlainSession

__all__ = ["verify_export"]

_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Case:
    """A case: one set of inputs, and the lengths that differ from the example's, for messages."""

    positional: tuple[Any, ...]
    named: dict[str, Any]
    where: str


def verify_export(module: torch.nn.Module, arguments: Arguments, model: onnx.ModelProto, misfits: str = "") -> None:
    """Raise `OnnxNormError` if the model computes something else than the module on the example inputs.

    Warns (`OnnxNormWarning`) where it differs at other lengths of the open axes, and where nothing can be compared. The
    module is run with copies of its buffers, and PyTorch's random state is kept.
    """
    name = type(module).__name__
    example = _Case(arguments.positional, arguments.named, "on the example inputs")
    try:
        session = PlainSession(model)
    except OnnxNormError as error:
        session, reason = None, str(error)
    evaluator = _Evaluator(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if session is None:
            reason = f"{name}: onnxruntime does not run the exported model: {misfits or reason}"
            if _verify_in_float64(module, example, evaluator, reason):
                _warn(f"{reason} (compared with the module in float64 instead, it computes the same)")
            return
        try:
            want = _outputs(module, example)
        except Exception as error:  # such as an operator that PyTorch lacks for a half type on this device
            _verify_in_float64(module, example, evaluator, f"{name}: PyTorch does not run the module ({error})")
            return
        if len(want) != len(model.graph.output) or len(_tensors(arguments.by_name)) != len(model.graph.input):
            _warn(f"{name}: the exported model has other inputs or outputs than the module and is not compared with it")
            return
        difference = _difference(module, example, want, session, evaluator)
        if difference is not None and not are_equal(want, _outputs(module, example)):
            _warn(f"{name} is random: its export cannot be compared with it")
            return
        if difference is not None:
            raise OnnxNormError(f"{name}: the exported model computes something else than the module {difference}")
        longer = _lengthened(arguments, example)
        if longer is None:
            return
        try:
            want = _outputs(module, longer)
        except Exception:
            return  # the module itself does not take these lengths
        difference = _difference(module, longer, want, session, evaluator)
        if difference is not None:
            _warn(f"{name}: the exported model computes something else than the module {difference}")


class _Evaluator:
    """The float64 evaluator of the model, made when it is first needed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._evaluator: Float64Evaluator | None = None
        self.inputs = [value.name for value in model.graph.input]

    def run(self, inputs: Sequence[_Array]) -> list[_Array]:
        self._evaluator = self._evaluator or Float64Evaluator(self.model)
        feeds = dict(zip(self.inputs, inputs, strict=True))
        return [np.asarray(value) for value in self._evaluator.run(feeds).values()]

    def run_rounded(self, inputs: Sequence[_Array], kinds: Sequence[_Array]) -> list[_Array]:
        """Run the model with each result rounded to its own type; return outputs in the types of `kinds`."""
        names = [value.name for value in self.model.graph.output]
        feeds = dict(zip(self.inputs, inputs, strict=True))
        outputs = RoundedEvaluator(self.model).run(feeds, dict(zip(names, kinds, strict=True)))
        return [np.asarray(outputs[name], np.float64) for name in names]


def _difference(
    module: torch.nn.Module,
    case: _Case,
    want: list[_Array],
    session: PlainSession,
    evaluator: _Evaluator,
) -> str | None:
    """Tell in words in what the model differs from the module beyond rounding; None where it does not."""
    inputs = _tensors((case.positional, case.named))
    try:
        got = session.run(inputs)
    except Exception as error:
        return f"{case.where}: onnxruntime stops with: {' '.join(str(error).split())[:300]}"
    for i, (a, b) in enumerate(zip(got, want, strict=False)):
        if a.dtype != b.dtype:
            _warn(
                f"{case.where}, output {i} of the exported model is {a.dtype.name}, that of the module {b.dtype.name}"
            )
    found = difference_between(got, want)
    if found is None and not any(map(half_unit, want)):
        return None
    try:
        exact = evaluator.run(inputs)
    except OnnxNormError:
        if found is not None:
            _warn(f"{case.where}, {found}: whether that is rounding cannot be told without a float64 evaluation")
        return None
    try:
        exact_want = _outputs(_double(module), _in_double(case))
    except Exception:
        # A module that knows its own type alone: a mistake exceeds what rounding does to the exported model itself.
        if found is not None:
            found = difference_between(got, want, [ROUNDINGS * each for each in distances(got, exact)])
    else:
        found = difference_between(exact, exact_want, half_slack(want, exact_want))
        if found is not None and _rounds_weights(module, case, evaluator):
            rounded = evaluator.run_rounded(inputs, want)
            roundings = zip(distances(want, exact_want), distances(rounded, exact), strict=True)
            wide = [each.astype(np.float64) for each in want]
            found = difference_between(rounded, wide, [sum(pair) for pair in roundings])
    return None if found is None else f"{case.where}: {found}"


def _verify_in_float64(module: torch.nn.Module, case: _Case, evaluator: _Evaluator, reason: str) -> bool:
    """Raise where the two differ; where they cannot be compared, warn with the reason and return False."""
    try:
        got = evaluator.run(_tensors((case.positional, case.named)))
        want = _outputs(_double(module), _in_double(case))
    except Exception as error:
        _warn(f"{reason}, and it was not compared with the module in float64 either ({error})")
        return False
    try:
        slack = half_slack(_outputs(module, case), want)
    except Exception:  # PyTorch lacks an operator for the type
        slack = None
    found = difference_between(got, want, slack)
    if found is not None:
        raise OnnxNormError(
            f"{type(module).__name__}: the exported model computes something else than the module: {found}"
        )
    return True


def _rounds_weights(module: torch.nn.Module, case: _Case, evaluator: _Evaluator) -> bool:
    """Whether the module computes in a half type with weights or inputs in a wider one, as under autocast.

    The model has those weights as rounded constants, so that its float64 evaluation is not that of the module.
    """
    leaves = _pytree.tree_leaves((case.positional, case.named))
    tensors = (*module.parameters(), *module.buffers(), *(leaf for leaf in leaves if isinstance(leaf, torch.Tensor)))
    return has_halves(evaluator.model) and any(tensor.dtype in (torch.float32, torch.float64) for tensor in tensors)


def _double(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy in double precision.

    Tensors that hooks have computed, such as old weight norm's, cannot be copied.
    """
    memo = {
        id(tensor): tensor.detach().clone()
        for part in module.modules()
        for tensor in part.__dict__.values()
        if isinstance(tensor, torch.Tensor) and not tensor.is_leaf
    }
    return copy.deepcopy(module, memo).double()


def _outputs(module: torch.nn.Module, case: _Case) -> list[_Array]:
    """Return the module's outputs as arrays; its buffers are copied first, in case it writes to them."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return _tensors(torch.func.functional_call(module, buffers, case.positional, case.named))


def _tensors(tree: Any) -> list[_Array]:
    leaves = [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return [_array(leaf.detach().cpu()) for leaf in leaves]


def _array(tensor: torch.Tensor) -> _Array:
    if tensor.dtype is torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _map(case: _Case, change: Callable[[torch.Tensor], torch.Tensor], where: str) -> _Case:
    def leaf(value: Any) -> Any:
        return change(value) if isinstance(value, torch.Tensor) else value

    positional, named = _pytree.tree_map(leaf, (case.positional, case.named))
    return _Case(positional, named, where)


def _in_double(case: _Case) -> _Case:
    return _map(case, lambda t: t.double() if t.is_floating_point() else t, case.where)


def _lengthened(arguments: Arguments, example: _Case) -> _Case | None:
    """Repeat the example along its open axes: one sample more, any other axis twice as long."""
    axes = iter(arguments.axis_names())
    changed: list[str] = []

    def longer(tensor: torch.Tensor) -> torch.Tensor:
        for axis, name in next(axes, {}).items():
            length = tensor.shape[axis]
            new = length + 1 if axis == 0 else 2 * length
            tensor = tensor.index_select(axis, torch.arange(new, device=tensor.device) % max(length, 1))
            changed.append(f"{name} = {new}")
        return tensor

    case = _map(example, longer, "")
    where = "with " + ", ".join(dict.fromkeys(changed))
    return _Case(case.positional, case.named, where) if changed else None


def _warn(message: str) -> None:
    warnings.warn(message, OnnxNormWarning, stacklevel=4)
