"""Reads ONNX's definitions of operators where the versions of the package onnx differ."""

from __future__ import annotations

import functools

import onnx

__all__ = ["types_of"]


def types_of(schema: onnx.defs.OpSchema, parameter: onnx.defs.OpSchema.FormalParameter) -> frozenset[str]:
    """Return the types that a parameter of the operator may have, as its definition names them.

    onnx 1.20 cannot hand out the attribute `types` of a parameter; the constraints say the same.
    """
    return _types(schema.domain, schema.name, schema.since_version, parameter.type_str)


@functools.cache
def _types(domain: str, name: str, version: int, type_str: str) -> frozenset[str]:
    for constraint in onnx.defs.get_schema(name, version, domain).type_constraints:
        if constraint.type_param_str == type_str:
            return frozenset(constraint.allowed_type_strs)
    return frozenset({type_str})
