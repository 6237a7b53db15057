"""Sessions: where the library is found, what is refused and how, and what the user is told."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from onnxnorm import OnnxNormError, errors, reference
from onnxnorm.errors import OnnxNormWarning
from onnxnorm.ops import attach
from onnxnorm.ops.schema import DOMAIN
from onnxnorm.runtime import library
from onnxnorm.runtime import session as session_module
from onnxnorm.runtime.library import LIBRARY_FILE, custom_ops_library_path, find_library
from onnxnorm.runtime.session import session

needs_library = pytest.mark.skipif(find_library() is None, reason="needs the native library")
X = np.random.default_rng(0).standard_normal((1, 3, 5, 6)).astype(np.float32)


def lrn_model() -> onnx.ModelProto:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, X.shape) for name in "XY"]
    node = onnx.helper.make_node("IntraChannelLRN", ["X"], ["Y"], name="lrn", domain=DOMAIN, kernel_shape=[3, 3])
    graph = onnx.helper.make_graph([node], "the graph", values[:1], values[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def check(runner: onnxruntime.InferenceSession) -> None:
    y = runner.run(None, {"X": X})[0]
    np.testing.assert_allclose(y, reference.intra_channel_lrn(X, [3, 3]), rtol=12 * 2.0**-23)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_library", lambda: None)
    monkeypatch.setattr(session_module, "find_library", lambda: None)
    errors.say_once.cache_clear()


@pytest.mark.parametrize("portable", [True, False])
def test_every_form_of_a_model_runs(tmp_path: Path, portable: bool) -> None:
    proto = lrn_model()
    path = tmp_path / "lrn.onnx"
    onnx.save(proto, path)
    for model in (proto, proto.SerializeToString(), str(path), path, ir.from_proto(proto)):
        check(session(model, portable=portable))


def test_the_given_model_is_not_changed() -> None:
    proto = lrn_model()
    before = proto.SerializeToString(deterministic=True)
    session(proto, portable=True)
    assert proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("bodies", [True, False])
def test_weights_in_a_file_of_their_own_are_found(tmp_path: Path, bodies: bool) -> None:
    model = lrn_model()
    model.graph.node[0].output[0] = "between"
    model.graph.node.append(onnx.helper.make_node("Add", ["between", "shift"], ["Y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 3, 5, 6), 2.0, np.float32), "shift"))
    if bodies:
        attach.attach_bodies(model)
    path = tmp_path / "large.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    y = session(path).run(None, {"X": X})[0]
    np.testing.assert_allclose(y, reference.intra_channel_lrn(X, [3, 3]) + 2, rtol=12 * 2.0**-23)


def test_a_model_of_standard_operators_runs_unchanged() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["" : 9]> g (float[2] X) => (float[2] Y) {Y = Relu(X)}'
    )
    assert session(model).run(None, {"X": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]


@needs_library
def test_the_kernel_runs_where_the_library_is_installed() -> None:
    """The library computes x * base^-beta; a body of nonsense shows that it is not the body that runs."""
    model = lrn_model()
    attach.attach_bodies(model)
    data = model.SerializeToString()
    nonsense = onnx.ModelProto.FromString(data)
    body = nonsense.functions[0]
    del body.node[:]
    body.node.append(onnx.helper.make_node("Neg", ["X"], ["Y"]))
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(custom_ops_library_path())
    check(onnxruntime.InferenceSession(nonsense.SerializeToString(), options))
    plain = onnxruntime.InferenceSession(nonsense.SerializeToString())
    np.testing.assert_array_equal(plain.run(None, {"X": X})[0], -X)


@needs_library
def test_options_serve_any_number_of_sessions() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for _ in range(3):
        check(session(lrn_model(), sess_options=options))
    assert options.intra_op_num_threads == 1
    with pytest.raises(OnnxNormError, match="have the native library registered"):
        session(lrn_model(), sess_options=options, portable=True)


@needs_library
def test_options_with_the_library_already_on_them_are_refused() -> None:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(custom_ops_library_path())
    with pytest.raises(OnnxNormError, match=r"leave that to onnxnorm\.session"):
        session(lrn_model(), sess_options=options)


def test_threads_and_options_exclude_each_other() -> None:
    check(session(lrn_model(), threads=1))
    with pytest.raises(OnnxNormError, match="either sess_options or threads"):
        session(lrn_model(), threads=1, sess_options=onnxruntime.SessionOptions())


def test_without_the_library_it_is_said_once(without_library: None) -> None:
    with pytest.warns(OnnxNormWarning, match="portable bodies"):
        check(session(lrn_model()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(session(lrn_model()))


def test_nothing_is_said_where_nothing_is_lost(without_library: None) -> None:
    standard = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["" : 9]> g (float[2] X) => (float[2] Y) {Y = Relu(X)}'
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session(standard)
        session(lrn_model(), portable=True)


def test_without_the_library_its_path_is_an_error(without_library: None) -> None:
    with pytest.raises(OnnxNormError, match=r"C\+\+20 compiler"):
        custom_ops_library_path()


@needs_library
def test_the_library_that_is_named_is_the_one_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "named.so"
    copy.write_bytes(Path(custom_ops_library_path()).read_bytes())
    monkeypatch.setenv("ONNXNORM_LIBRARY", str(copy))
    assert find_library() == copy.resolve()
    check(session(lrn_model()))
    monkeypatch.setenv("ONNXNORM_LIBRARY", str(tmp_path / "missing.so"))
    with pytest.raises(OnnxNormError, match="no such file"):
        find_library()


def test_a_library_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    monkeypatch.setenv("ONNXNORM_LIBRARY", str(broken))
    with pytest.raises(OnnxNormError, match="cannot load the native library"):
        session(lrn_model())


def test_a_library_beside_the_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONNXNORM_LIBRARY", raising=False)
    copied = tmp_path / LIBRARY_FILE
    copied.touch()
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(library, "__file__", str(tmp_path / "runtime" / "library.py"))
    assert find_library() == copied.resolve()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no model at all", "no ONNX model"), (b"", "no ONNX model"), (None, "cannot read the model")],
)
def test_files_that_are_no_model_are_refused_by_name(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OnnxNormError, match=reason) as refusal:
        session(path)
    assert str(path) in str(refusal.value)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(OnnxNormError, match="not a int"):
        session(3)  # type: ignore[arg-type]


def test_what_onnxruntime_refuses_is_an_error_with_the_name_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "unknown.onnx"
    model = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["" : 9]> g (float[2] X) => (float[2] Y) {Y = Relu(X)}'
    )
    model.graph.node[0].op_type = "Reloo"
    onnx.save(model, path)
    with pytest.raises(OnnxNormError, match="Reloo") as refusal:
        session(path)
    assert str(refusal.value).startswith(str(path))
    assert "ONNXRuntimeError" not in str(refusal.value)


def test_a_wrong_node_in_a_file_names_file_and_node(tmp_path: Path) -> None:
    path = tmp_path / "wrong.onnx"
    model = lrn_model()
    model.graph.node[0].attribute[0].ints[0] = 0
    onnx.save(model, path)
    with pytest.raises(OnnxNormError, match="node 'lrn'") as refusal:
        session(path)
    assert str(refusal.value).startswith(str(path))


@needs_library
@pytest.mark.parametrize("saved_format", ["ONNX", "ORT"])
@pytest.mark.parametrize("portable", [False, True])
def test_a_file_that_loses_the_bodies_is_warned_of(tmp_path: Path, portable: bool, saved_format: str) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / f"written.{saved_format.lower()}")
    options.add_session_config_entry("session.save_model_format", saved_format)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session(lrn_model(), sess_options=options, portable=portable)
    told = [str(warning.message) for warning in caught if warning.category is OnnxNormWarning]
    assert ["without the bodies" in text for text in told] == ([] if portable else [True])
    runs_alone = True
    try:
        check(
            onnxruntime.InferenceSession(
                str(tmp_path / f"written.{saved_format.lower()}"), providers=["CPUExecutionProvider"]
            )
        )
    except Exception:
        runs_alone = False
    assert runs_alone == portable


def test_a_model_without_custom_operators_is_written_without_a_warning(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "written.onnx")
    relu = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] X) => (float[2] Y) { Y = Relu (X) }"""
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session(relu, sess_options=options)


@needs_library
@pytest.mark.parametrize(
    ("providers", "portable", "registered"),
    [
        (None, None, True),
        (["CPUExecutionProvider"], None, True),
        (["GpuExecutionProvider", "CPUExecutionProvider"], None, False),
        ([("GpuExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"], None, False),
        (["GpuExecutionProvider", "CPUExecutionProvider"], False, True),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], None, True),
    ],
)
def test_on_another_processor_the_bodies_run_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, providers: list[Any] | None, portable: bool | None, registered: bool
) -> None:
    done = []
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["GpuExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(session_module, "_register", lambda library, options: done.append(library))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *arguments, **options: "a session")
    session(lrn_model(), providers=providers, portable=portable)
    assert bool(done) == registered


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        (["cpu"], "knows no 'cpu' (did you mean 'CPUExecutionProvider'?)"),
        (["CPUExecutionProvider", "CPUExectionProvider"], "(did you mean 'CPUExecutionProvider'?)"),
        ([("cuda", {"device_id": 0})], "(did you mean 'CUDAExecutionProvider'?)"),
        (["quantum"], "knows no 'quantum'; this one has"),
        ("CPUExecutionProvider", "is a list, such as ['CPUExecutionProvider']"),
        ([0], "names, or pairs of a name and a dictionary of options, not 0"),
        ([("CPUExecutionProvider", 0)], "pairs of a name and a dictionary"),
    ],
)
def test_a_provider_that_onnxruntime_does_not_know_is_an_error(providers: Any, words: str) -> None:
    with pytest.raises(OnnxNormError, match=re.escape(words)):
        session(lrn_model(), providers=providers)
