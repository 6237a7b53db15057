"""The reader that leaves weights in the file against protobuf's own: same messages, however they are written."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm.io import read
from onnxnorm.io.skip_weights import skim, varint

_LEAST = 16
_MARK = "mark"


def _bytes(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value % 2**64)


_small = st.integers(0, 5)
_raw = st.one_of(st.binary(max_size=8), st.binary(min_size=_LEAST, max_size=40))
_entry = st.tuples(st.sampled_from(["location", "offset", "length", "other"]), st.text(max_size=4)).map(
    lambda pair: _bytes(1, pair[0].encode()) + _bytes(2, pair[1].encode())
)
_unknown = st.one_of(
    _small.map(lambda n: _number(500, n)),
    st.binary(max_size=20).map(lambda content: _bytes(501, content)),
    st.just(varint(502 << 3 | 5) + b"abcd"),
    st.just(varint(503 << 3 | 1) + b"abcdefgh"),
    _small.map(lambda n: varint(504 << 3 | 3) + _number(7, n) + _bytes(9, b"x" * 20) + varint(504 << 3 | 4)),
)
_tensor_field = st.one_of(
    _small.map(lambda n: _number(1, n)),
    st.lists(_small, max_size=3).map(lambda ns: _bytes(1, b"".join(map(varint, ns)))),
    st.sampled_from([1, 2, 7]).map(lambda n: _number(2, n)),
    st.binary(min_size=4, max_size=4).map(lambda four: varint(4 << 3 | 5) + four),
    st.binary(max_size=3).map(lambda text: _bytes(8, text.hex().encode())),
    _raw.map(lambda raw: _bytes(9, raw)),
    _raw.map(lambda raw: _bytes(9, raw)),
    _entry.map(lambda entry: _bytes(13, entry)),
    st.sampled_from([0, 0, 1, 2, 3, -1, 2**32]).map(lambda n: _number(14, n)),
    # A known number on another wire: protobuf takes it for a field that it does not know.
    st.just(_bytes(14, b"a")),
    _small.map(lambda n: _number(9, n)),
    _unknown,
)
_tensor = st.lists(_tensor_field, max_size=9).map(b"".join)
_graph_field = st.one_of(
    _tensor.map(lambda tensor: _bytes(5, tensor)),
    _tensor.map(lambda tensor: _bytes(5, tensor)),
    st.sampled_from(["a", "b"]).map(lambda name: _bytes(2, name.encode())),
    st.just(_bytes(1, _bytes(4, b"Relu") + _bytes(1, b"x"))),
    _small.map(lambda n: _number(5, n)),
    _unknown,
)
_graph = st.lists(_graph_field, max_size=5).map(b"".join)
_model = st.lists(
    st.one_of(
        _graph.map(lambda graph: _bytes(7, graph)),
        _graph.map(lambda graph: _bytes(7, graph)),
        _small.map(lambda n: _number(1, n)),
        st.just(_bytes(8, _number(2, 17))),
        _unknown,
    ),
    max_size=5,
).map(b"".join)


def _skimmed(written: bytes) -> onnx.ModelProto:
    with tempfile.TemporaryFile() as file:
        file.write(written)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return onnx.ModelProto.FromString(skim(data, _MARK, least=_LEAST))


def _drop_unread(tensor: TensorProto) -> None:
    """Forget what means nothing beside data in the message itself: where external data would be."""
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


@settings(max_examples=400, deadline=None)
@given(_model)
def test_a_skimmed_model_is_the_one_that_protobuf_reads(written: bytes) -> None:
    if not written:
        return
    wanted, found = onnx.ModelProto.FromString(written), _skimmed(written)
    assert len(found.graph.initializer) == len(wanted.graph.initializer)
    for tensor, original in zip(found.graph.initializer, wanted.graph.initializer, strict=True):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        is_large = len(original.raw_data) >= _LEAST and original.data_location == TensorProto.DEFAULT
        assert (entries.get("location") == _MARK) == is_large
        if is_large:
            assert tensor.data_location == TensorProto.EXTERNAL and not tensor.HasField("raw_data")
            offset, length = int(entries["offset"]), int(entries["length"])
            tensor.raw_data = written[offset : offset + length]
            _drop_unread(tensor)
            _drop_unread(original)
    for message in (found, wanted):
        message.DiscardUnknownFields()
    assert found == wanted


@settings(max_examples=200, deadline=None)
@given(_model, st.data())
def test_a_cut_model_is_an_error_to_both(written: bytes, data: st.DataObject) -> None:
    if len(written) < 2:
        return
    cut = written[: data.draw(st.integers(1, len(written) - 1))]
    try:
        onnx.ModelProto.FromString(cut)
    except Exception:
        with pytest.raises(Exception):  # noqa: B017
            _skimmed(cut)
    else:
        _skimmed(cut)


def test_a_model_that_was_loaded_with_external_data_and_saved_in_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_SKIMMED_FROM", 1)
    monkeypatch.setattr(read, "_LEAST_SKIMMED", 16)
    weights = np.arange(64, dtype=np.float32).reshape(8, 8)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    apart, whole = tmp_path / "apart.onnx", tmp_path / "whole.onnx"
    onnx.save(model, apart, save_as_external_data=True, size_threshold=0, convert_attribute=False)
    onnx.save(onnx.load(apart), whole)
    assert onnx.load(whole).graph.initializer[0].HasField("data_location")
    optimized = onnxnorm.optimize(whole, verify=False).model
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(optimized.graph.initializer[0]), weights)
