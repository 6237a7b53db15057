"""Writes out sparse initializers: neither onnx-ir nor the passes know them, and a runtime unpacks them as well."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from onnxnorm.errors import OnnxNormError

__all__ = ["without_sparse_initializers"]

# What a sparse tensor may grow to: more elements than this are asked for, not stored.
_MAX_ELEMENTS = 2**28


def without_sparse_initializers(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the message with dense initializers for the sparse ones of its graph.

    It is the message itself where it has none.
    """
    if not proto.graph.sparse_initializer:
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    for sparse in proto.graph.sparse_initializer:
        dense.graph.initializer.append(_dense(sparse, name))
    del dense.graph.sparse_initializer[:]
    return dense


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    """Put the stored values at their places, zeros elsewhere.

    Places are linear or one row each (ONNX: SparseTensorProto).
    """
    own = sparse.values.name
    try:
        values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dims = tuple(sparse.dims)
        if any(dim < 0 for dim in dims) or math.prod(dims) > _MAX_ELEMENTS:
            raise ValueError(f"{math.prod(dims)} elements")
        result = np.zeros(dims, values.dtype)
        if places.ndim == 2:
            result[tuple(places.T)] = values
        else:
            result.reshape(-1)[places] = values
    except Exception as error:
        raise OnnxNormError(f"{name}: the sparse initializer {own!r} cannot be unpacked ({error})") from error
    return numpy_helper.from_array(result, own)
