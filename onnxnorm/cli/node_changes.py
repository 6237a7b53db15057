"""Tells which nodes of a model are gone, which have come and which have changed, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnorm.model.domains import full_name

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnorm.journal import Rewrite

__all__ = ["NodeChange", "changes_between"]


@dataclass(frozen=True)
class NodeChange:
    """The change of one node: `change` is gone, come or changed; `why` is empty where no pass wrote it down."""

    change: str
    node: str
    operator: str
    why: str


def changes_between(before: ir.Model, after: ir.Model, rewrites: Iterable[Rewrite]) -> tuple[NodeChange, ...]:
    """Compare two models node by node, by the names of the nodes: first what is gone, then what changed and came."""
    old, new = _nodes(before), _nodes(after)
    told = list(rewrites)
    found = [
        NodeChange("gone", name, _operator(node), _why(name, told)) for name, node in old.items() if name not in new
    ]
    for name, node in new.items():
        if name not in old:
            found.append(NodeChange("come", name, _operator(node), _why(name, told)))
        elif what := ", ".join(_differences(old[name], node)):
            why = _why(name, told)
            found.append(NodeChange("changed", name, _operator(node), f"{what}: {why}" if why else what))
    order = ("gone", "changed", "come")
    return tuple(sorted(found, key=lambda each: order.index(each.change)))


def _nodes(model: ir.Model) -> dict[str, ir.Node]:
    return {node.name or "": node for node in model.graph.all_nodes()}


def _operator(node: ir.Node) -> str:
    return full_name(node.op_type, node.domain)


def _why(name: str, rewrites: Iterable[Rewrite]) -> str:
    own = [rewrite.detail for rewrite in rewrites if rewrite.node == name]
    if own:
        return "; ".join(own)
    others = [f"took up {rewrite.op_type} {rewrite.node!r}" for rewrite in rewrites if name in rewrite.into]
    return "; ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")


def _differences(old: ir.Node, new: ir.Node) -> Iterator[str]:
    if (old.domain, old.op_type) != (new.domain, new.op_type):
        yield f"was {_operator(old)}"
    if {key: str(value.value) for key, value in old.attributes.items()} != {
        key: str(value.value) for key, value in new.attributes.items()
    }:
        yield "other attributes"
    constants = [[_constant(value) for value in node.inputs] for node in (old, new)]
    if len(old.inputs) != len(new.inputs):
        yield f"{len(new.inputs)} operands instead of {len(old.inputs)}"
    if any(not _same(a, b) for a, b in zip(*constants, strict=False)):
        yield "other constants"


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    return None if value is None else value.const_value


def _same(old: ir.TensorProtocol | None, new: ir.TensorProtocol | None) -> bool:
    if old is None or new is None:
        return (old is None) == (new is None)
    if old is new:
        return True
    return old.dtype == new.dtype and tuple(old.shape) == tuple(new.shape) and _equal(old.numpy(), new.numpy())


def _equal(old: np.ndarray, new: np.ndarray) -> bool:
    return bool(np.array_equal(old, new, equal_nan=old.dtype.kind == "f"))
