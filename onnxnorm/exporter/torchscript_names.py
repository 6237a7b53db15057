"""Gives a graph of PyTorch's older exporter the names of parameters and modules that the dynamo exporter gives."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.exporter.messages import SCOPES

__all__ = ["name_after_module"]

_ROOT = "module."


def name_after_module(model: ir.Model) -> None:
    """Give parameters their own names, and nodes the note of their module that the dynamo exporter gives."""
    graph = model.graph
    for value in list(graph.initializers.values()):
        name = value.name or ""
        if name.startswith(_ROOT) and name[len(_ROOT) :] not in graph.initializers:
            del graph.initializers[name]
            _strip_root(value)
            graph.initializers[value.name] = value  # type: ignore[index]
    for node in ir.traversal.RecursiveGraphIterator(graph):
        # Of equal tensors the exporter keeps one, with an Identity for each of the others.
        for value in node.outputs:
            if (value.name or "").startswith(_ROOT):
                _strip_root(value)
        node.metadata_props[SCOPES] = repr([*_scopes(node.name or ""), node.op_type])


def _strip_root(value: ir.Value) -> None:
    value.name = (value.name or "").removeprefix(_ROOT)
    if value.const_value is not None:
        value.const_value.name = value.name


def _scopes(name: str) -> list[str]:
    """Return the paths down to a module, of "/module/layer1/layer1.0/bn1/BatchNormalization".

    Containers bear their place.
    """
    steps: list[str] = []
    scopes: list[str] = []
    for part in name.split("/")[1:-1]:
        if steps and part.startswith(f"{steps[-1]}."):
            steps[-1] = part
        else:
            steps.append(part)
        scopes.append(".".join(steps).removeprefix(_ROOT.rstrip(".")).removeprefix("."))
    return scopes or [""]
