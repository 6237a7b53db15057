"""Makes the types of a finished export those that ONNX's definitions and onnxruntime's kernels take.

PyTorch normalizes a half tensor with float weights; ONNX's operators mostly bind both to one type. Some operators know
no bfloat16, and for others onnxruntime has no kernel. Such a node computes in float32 between casts, which is what
PyTorch does inside its kernels: operands are widened exactly, and the result is rounded once. Nothing is narrowed:
where float32 loses digits of a double, the node becomes another that computes the same, or it stays and the caller is
told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from onnxnorm.convert.same_form import schema_of
from onnxnorm.exporter import kernels
from onnxnorm.exporter.casts import Casts
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.dtypes import FLOATS, HALVES, type_string
from onnxnorm.model.walk import graphs_within, subgraphs_of

__all__ = ["settle_types"]


# The first whose scale and bias have one element for each channel.
_GROUP_NORM_OPSET = 21

_Binding = dict[str, ir.DataType]


def settle_types(model: ir.Model, *, only_mixed: bool = False) -> tuple[str, ...]:
    """Put casts around the nodes whose types do not fit; return what does not fit even so, each with its node.

    A model whose nodes all fit is not changed. With `only_mixed` a node keeps a type that its definition or onnxruntime
    does not take, as long as all of its operands have it: then BatchNormalizations still stand beside their neighbours.
    """
    opset = model.graph.opset_imports.get("", 1)
    casts, left = Casts(model), list[str]()
    for graph in graphs_within(model.graph):
        for node in list(graph):
            schema = schema_of(node.op_type, opset) if node.domain in STANDARD_DOMAINS else None
            if schema is not None and not any(subgraphs_of(node)):
                reason = _settle(_Site(node, schema, opset), casts, only_mixed)
                if reason:
                    left.append(reason)
    casts.give_back_names()
    return tuple(left)


class _Site:
    """A node and the variables that its definition has for the types of its operands and results."""

    def __init__(self, node: ir.Node, schema: onnx.defs.OpSchema, opset: int) -> None:
        self.node = node
        self.opset = opset
        self.allowed: Mapping[str, frozenset[str]] = {
            entry.type_param_str: frozenset(entry.allowed_type_strs) for entry in schema.type_constraints
        }
        self.operands = list(_typed(schema.inputs, node.inputs))
        self.results = list(_typed(schema.outputs, node.outputs))

    def given(self) -> dict[str, list[ir.DataType]]:
        """Return the types that each variable is bound to."""
        bound: dict[str, list[ir.DataType]] = {}
        for _, value, variable in self.operands:
            if variable in self.allowed and value.dtype is not None:
                bound.setdefault(variable, []).append(value.dtype)
        return bound

    def allows(self, binding: _Binding) -> bool:
        return all(type_string(dtype) in self.allowed[variable] for variable, dtype in binding.items())

    def refusal(self, binding: _Binding) -> str | None:
        """Return onnxruntime's reason against the node with these types; only what float32 may mend is asked."""
        if not any(dtype in FLOATS and dtype is not ir.DataType.FLOAT for dtype in binding.values()):
            return None
        dtypes: list[ir.DataType | None] = [None] * len(self.node.inputs)
        for place, value, variable in self.operands:
            dtypes[place] = binding.get(variable, value.dtype)
            if dtypes[place] is None:
                return None
        return kernels.refusal(self.node, dtypes, self.opset)

    def describe(self) -> str:
        names = {value.dtype.name.lower(): None for _, value, _ in self.operands if value.dtype in FLOATS}
        return f"{self.node.op_type} {self.node.name!r} on {' and '.join(names)}"


def _typed(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], values: Sequence[ir.Value | None]
) -> Iterator[tuple[int, ir.Value, str]]:
    """Yield the tensors among operands or results, each with its place and the type that the definition gives it."""
    for place, value in enumerate(values):
        if value is None or not parameters or value.name == "" or not isinstance(value.type, ir.TensorType | None):
            continue
        parameter = parameters[min(place, len(parameters) - 1)]
        if parameter.is_homogeneous:
            yield place, value, parameter.type_str


def _settle(site: _Site, casts: Casts, only_mixed: bool) -> str:
    """Give the node types that fit, by casts; return what is against it where none do."""
    given = site.given()
    own = {variable: _common(dtypes) for variable, dtypes in given.items()}
    binding = {variable: dtype for variable, dtype in own.items() if dtype is not None}
    if len(binding) < len(own):
        return f"{site.describe()}: its definition takes operands of one type"
    refused = None if only_mixed else _refused(site, binding)
    if refused is not None:
        wide = {variable: ir.DataType.FLOAT if dtype in HALVES else dtype for variable, dtype in binding.items()}
        if _as_group_norm(site, binding):
            return ""
        if wide == binding or not site.allows(wide) or site.refusal(wide) is not None or _is_cast(site.node):
            return refused and f"{site.describe()}: {refused}"
        binding = wide
    for place, value, variable in site.operands:
        if variable in binding and value.dtype is not None and value.dtype is not binding[variable]:
            site.node.replace_input_with(place, casts.widened(value, binding[variable], site.node))
    for _, value, variable in site.results:
        made = binding.get(variable)
        if made in FLOATS and value.dtype in FLOATS and value.dtype is not made:
            casts.round_result(value, made)
    return ""


def _refused(site: _Site, binding: _Binding) -> str | None:
    """Return what is against the node with these types.

    It is empty where onnxruntime has another reason than a missing kernel.
    """
    if not site.allows(binding):
        return f"no type of its definition at opset {site.opset}"
    reason = site.refusal(binding)
    if reason is None:
        return None
    return "onnxruntime has no kernel for it" if kernels.is_missing_kernel(reason) else ""


def _as_group_norm(site: _Site, binding: _Binding) -> bool:
    """Make an InstanceNormalization of doubles a GroupNormalization with a group for each channel: the same formula.

    onnxruntime has no kernel for the first; the second it takes apart into operators that it has for doubles.
    """
    node = site.node
    scale = node.inputs[1] if node.op_type == "InstanceNormalization" else None
    channels = None if scale is None or scale.shape is None else scale.shape[0]
    doubles = set(binding.values()) == {ir.DataType.DOUBLE}
    if site.opset < _GROUP_NORM_OPSET or not doubles or not isinstance(channels, int):
        return False
    node.op_type = "GroupNormalization"
    node.attributes["num_groups"] = ir.AttrInt64("num_groups", channels)
    node.attributes["stash_type"] = ir.AttrInt64("stash_type", int(ir.DataType.DOUBLE))
    return True


def _is_cast(node: ir.Node) -> bool:
    return node.op_type in ("Cast", "CastLike")


def _common(dtypes: Sequence[ir.DataType]) -> ir.DataType | None:
    """Return the type that holds the values of all; None where that is none of the real types."""
    kinds = set(dtypes)
    if len(kinds) == 1:
        return dtypes[0]
    if not kinds <= FLOATS:
        return None
    return ir.DataType.DOUBLE if ir.DataType.DOUBLE in kinds else ir.DataType.FLOAT
