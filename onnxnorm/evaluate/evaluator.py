"""Computes a model's outputs in float64: the yardstick against which `verify` measures.

The engine is the reference evaluator of the onnx package. Every real constant, input and cast is lifted to float64,
and the operators of `onnxnorm.evaluate.operators` take the place of those that are wrong, missing, slow or rounded to
float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.before_opset_7 import ALIGNED
from onnxnorm.evaluate.operators import REPLACEMENTS, lift
from onnxnorm.evaluate.steps import Step, constant_places, kind_of, last_uses, reads
from onnxnorm.model.domains import full_name
from onnxnorm.model.held import array_of, is_held
from onnxnorm.model.source import name_of

__all__ = ["Float64Evaluator", "Hook", "NoFloat64Error", "evaluate_float64"]


_LARGE = 1 << 29
"""Bytes of weights (512 MiB) beyond which they are not all kept in float64."""


_LATER = np.empty(0)


class NoFloat64Error(OnnxNormError):
    """Raised where the model has an operator that cannot be computed in float64 here; the message names it."""


class Hook(Protocol):
    """A hook that sees every node of a model as it is evaluated, also those of subgraphs and functions."""

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        """Return the outputs to go on with.

        `constant` says that they depend on constants alone and are kept for later runs.
        """
        ...


class Float64Evaluator:
    """An evaluator of one model in float64, which runs any number of times.

    Args:
        model: the message, with every weight in it.
        hook: sees every node, and may replace its outputs.

    Raises:
        NoFloat64Error: the model has an operator of which no float64 implementation is known.
    """

    def __init__(self, model: onnx.ModelProto, hook: Hook | None = None) -> None:
        proto = model
        if any(function.overload for function in proto.functions):
            # The reference evaluator looks functions up by domain and name alone.
            proto = onnx.inliner.inline_local_functions(proto)
        initializers = {t.name for t in proto.graph.initializer} | {
            t.values.name for t in proto.graph.sparse_initializer
        }
        self.name = name_of(model)
        self.inputs = tuple(i.name for i in proto.graph.input if i.name not in initializers)
        self.overridable = tuple(i.name for i in proto.graph.input if i.name in initializers)
        self.outputs = tuple(o.name for o in proto.graph.output)
        try:
            self._evaluator = _Lifted(proto)
            self._evaluator.attach(hook)
        except NoFloat64Error:
            raise
        except Exception as error:
            raise NoFloat64Error(f"{self.name}: no float64 evaluation: {_first_line(error)}") from error

    def run(self, feeds: Mapping[str, Any], outputs: Iterable[str] | None = None) -> dict[str, Any]:
        """Compute the graph's outputs, or the named values of the main graph, by name.

        Real arrays come back as float64 and sequences as lists; everything else has the model's type.
        """
        missing = [name for name in self.inputs if name not in feeds]
        unknown = [name for name in feeds if name not in self.inputs and name not in self.overridable]
        if missing or unknown:
            raise OnnxNormError(
                f"{self.name}: the inputs given do not fit: missing {missing}, unknown {unknown}; "
                f"the model takes {list(self.inputs)}"
            )
        wanted = list(self.outputs if outputs is None else outputs)
        with np.errstate(all="ignore"):
            return dict(zip(wanted, self._evaluator.run(wanted, dict(feeds)), strict=True))

    def __del__(self) -> None:
        # The evaluator of the onnx package refers to itself, so that Python's collector alone would free its weights.
        if hasattr(self, "_evaluator"):
            self._evaluator.forget()


def evaluate_float64(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Compute the outputs of `model` for the inputs `feeds` (name to array) in float64.

    float16, bfloat16 and float32 become float64 wherever they occur: inputs, initializers, constants, casts, subgraphs
    and functions. Integers, booleans and strings are untouched. Sequences are lists of arrays.

    Raises:
        NoFloat64Error: the model has an operator of which no float64 implementation is known.
        OnnxNormError: inputs are missing or unknown.
    """
    return Float64Evaluator(model).run(feeds)


class _Lifted(ReferenceEvaluator):
    """The reference evaluator with everything real in float64; it makes those of subgraphs and functions too."""

    def __init__(
        self, proto: Any, opsets: Any = None, functions: Any = None, verbose: int = 0, new_ops: Any = None, **_: Any
    ) -> None:
        super().__init__(proto, opsets=opsets, functions=functions, verbose=verbose, new_ops=[*ALIGNED, *REPLACEMENTS])

    def retrieve_external_data(self, x: onnx.TensorProto) -> npt.NDArray[Any]:
        """Return the elements of a weight that is held beside the message."""
        return array_of(x)

    def _load_impl(self, node: onnx.NodeProto, input_types: Any = None) -> Any:
        """Return what makes the operator of a node; nodes that are alike but for the names of their values share one.

        To make one takes longer than most of them compute.
        """
        kind = None if input_types is not None else kind_of(node)
        if kind is None:
            return self._maker(node, input_types)
        known = self._operators.get(kind)
        if known is not None:
            return lambda *_: known
        make: Callable[..., OpRun] = self._maker(node)

        def remembered(*given: Any) -> OpRun:
            return self._operators.setdefault(kind, make(*given))

        return remembered

    def _maker(self, node: onnx.NodeProto, input_types: Any = None) -> Any:
        try:
            return super()._load_impl(node, input_types)
        except NotImplementedError as error:
            name = full_name(node.op_type, node.domain)
            raise NoFloat64Error(f"no float64 evaluation of {name} is known") from error

    def _init(self) -> None:
        self._operators: dict[tuple[object, ...], OpRun] = {}
        super()._init()
        held = [tensor.name for tensor in self.inits_ if is_held(tensor)]
        # In float64 a large model takes twice the room: then each weight is lifted while a node reads it.
        weights: dict[str, Any] = dict(self.rt_inits_)
        later = frozenset(held if sum(weights[name].nbytes for name in held) > _LARGE else ())
        self._later: dict[str, Any] = {name: weights[name] for name in later}
        self.rt_inits_ = {name: _LATER if name in later else lift(value) for name, value in self.rt_inits_.items()}
        self._distinct = tuple({id(node): node for node in self.rt_nodes_}.values())
        for node in self._distinct:
            _check(node)
            _lift_attributes(node)
        self._steps = [
            Step(node, proto, tuple(proto.input), tuple(proto.output), tuple(reads(proto)), node.need_context())
            for node, proto in zip(self.rt_nodes_, self.nodes_, strict=True)
        ]
        self._last_use = last_uses(self._steps, self.output_names)
        self._constant = constant_places(self._steps, self.rt_inits_) if hasattr(self.proto_, "graph") else frozenset()
        self._computed: dict[int, tuple[Any, ...]] = {}
        self._hook: Hook | None = None

    def forget(self) -> None:
        """Let go of the weights and of what was computed from them."""
        self.rt_inits_, self._later = {}, {}
        self._computed.clear()

    def attach(self, hook: Hook | None) -> None:
        """Show every node to the hook from now on."""
        self._hook = hook
        for node in self._distinct:
            inner = [getattr(node, name) for name in (*node.attributes_names_, "impl_") if hasattr(node, name)]
            for each in inner:
                if isinstance(each, _Lifted):
                    each.attach(hook)

    def run(  # type: ignore[override]
        self,
        output_names: Any,
        feed_inputs: dict[str, Any],
        attributes: dict[str, Any] | None = None,
        intermediate: bool = False,
        **_: Any,
    ) -> Any:
        results: dict[str, Any] = {"": None, **self.rt_inits_}
        results.update((name, lift(value)) for name, value in feed_inputs.items())
        wanted = list(self.output_names if output_names is None else output_names)
        keep = set(wanted)
        # What depends on constants alone is computed once, unless the caller replaces a constant.
        constant = frozenset() if self.rt_inits_.keys() & feed_inputs.keys() else self._constant
        later = self._later.keys() - feed_inputs.keys()
        for position, (node, proto, inputs, outputs, read, needs_context) in enumerate(self._steps):
            if position in constant and position in self._computed:
                results.update(zip(outputs, self._computed[position], strict=False))
                continue
            lifted_now = [name for name in read if name in later] if later else []
            for name in lifted_now:
                results[name] = lift(self._later[name])
            keywords: dict[str, Any] = {}
            if node.has_linked_attribute and attributes:
                keywords["linked_attributes"] = attributes
            if needs_context:
                keywords["context"] = results
            try:
                given = [results[name] for name in inputs]
                values = node.run(*given, **keywords)  # type: ignore[no-untyped-call]
            except OnnxNormError:
                raise
            except Exception as error:
                raise NoFloat64Error(
                    f"no float64 evaluation of node {proto.name or proto.output[0]!r} ({proto.op_type}): "
                    f"{_first_line(error)}"
                ) from error
            lifted = tuple(lift(value) for value in values)
            if self._hook is not None:
                lifted = self._hook.after(proto, given, lifted, constant=position in self._constant)
            results.update((name, value) for name, value in zip(outputs, lifted, strict=False) if name)
            if position in constant and not lifted_now:
                self._computed[position] = lifted
            results.update(dict.fromkeys(lifted_now, _LATER))
            for name in self._last_use[position]:
                if name not in keep and not intermediate:
                    results.pop(name, None)
        return results if intermediate else [results[name] for name in wanted]


def _check(node: OpRun) -> None:
    """Refuse what the reference evaluator would compute wrongly without a word."""
    proto = node.onnx_node
    if proto.domain == "" and proto.op_type in ("GRU", "LSTM", "RNN"):
        given = {attribute.name for attribute in proto.attribute}
        unused = given & {"activations", "activation_alpha", "activation_beta", "clip", "input_forget"}
        if unused or (len(proto.input) > 4 and proto.input[4]):
            what = ", ".join(sorted(unused)) or "sequence_lens"
            raise NoFloat64Error(f"no float64 evaluation of node {proto.name!r} ({proto.op_type}) with {what}")


def _lift_attributes(node: OpRun) -> None:
    """Lift attributes to float64.

    They come as float32 scalars, and float32 arithmetic with integers would round again.
    """
    for name in node.attributes_names_:
        value = getattr(node, name)
        if isinstance(value, np.floating):
            setattr(node, name, float(value))
        elif isinstance(value, list) and value and isinstance(value[0], np.floating):
            setattr(node, name, [float(v) for v in value])
    linked = getattr(node, "attributes_", None)
    if isinstance(linked, dict):
        for name in linked:
            linked[name] = getattr(node, name)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    text = str(cause).strip() or type(cause).__name__
    return text.splitlines()[0][:300]
