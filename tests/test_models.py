from __future__ import annotations

import functools
import json
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models import MODELS

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from models import __main__ as main_module  # noqa: E402
from models import demo  # noqa: E402
from models.convnext import GlobalResponseNorm  # noqa: E402
from models.picture import HEIGHT, WIDTH, picture, save_png  # noqa: E402
from onnxnorm.layers import InterChannelLRN, IntraChannelLRN, PerActivationBatchNorm  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

STATISTICS = (nn.BatchNorm1d, nn.BatchNorm2d, PerActivationBatchNorm)
NORMALIZATIONS = (
    *STATISTICS,
    GlobalResponseNorm,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
    InterChannelLRN,
    IntraChannelLRN,
)

# How many normalizations of which class each network has, counted from its definition on paper.
EXPECTED = {
    "alexnet": {"InterChannelLRN": 2},
    "alexnet-intra": {"IntraChannelLRN": 2},
    "googlenet": {"LocalResponseNorm": 2},
    "resnet18": {"BatchNorm2d": 1 + 8 * 2 + 3},
    "preact-resnet": {"BatchNorm2d": 8 * 3 + 1},
    "se-resnet": {"BatchNorm2d": 1 + 6 * 3 + 3},
    "densenet": {"BatchNorm2d": 1 + 21 * 2 + 3 + 1},
    "dpn": {"BatchNorm2d": 1 + 7 * 3 + 3 + 1},
    "mobilenet": {"BatchNorm2d": 1 + 2 + 16 * 3 + 1},
    "unet": {"BatchNorm2d": 7 * 2 + 3},
    "repvgg": {"BatchNorm2d": 11 * 2 + (1 + 2 + 3)},
    "mobileone": {"BatchNorm2d": (1 + 1) + 6 * (4 + 1) + 6 * 4 + (6 - 4) + (6 - 3)},
    "acnet": {"BatchNorm2d": 9 * 3},
    "dbb": {"BatchNorm2d": 1 + 8 * 6 + 3},
    "repvit": {"BatchNorm2d": 2 + 3 * (2 + 2) + 9 * (2 + 2), "BatchNorm1d": 1},
    "levit": {"BatchNorm2d": 4, "BatchNorm1d": 4 * (3 + 2) + (3 + 2) + 1},
    "per-activation": {"PerActivationBatchNorm": 3},
    "transformer": {"LayerNorm": 4 * 2 + 1},
    "transformer-rms": {"RMSNorm": 4 * 2 + 1},
    "style": {"InstanceNorm2d": 5, "GroupNorm": 3 * 2},
    "vae-decoder": {"GroupNorm": 2 * 2 + 1 + 3 * 4 + 1},
    "convnext": {"LayerNorm2d": 1 + 3 + 10, "LayerNorm": 1},
    "convnext-v2": {"LayerNorm2d": 1 + 3, "LayerNorm": 10 + 1, "GlobalResponseNorm": 10},
    "unet-group": {"GroupNorm": 7 * 2 + 3},
    "stylegan": {"InstanceNorm2d": 8},
    "bit": {"GroupNorm": 8 * 3 + 1},
}

every_model = pytest.mark.parametrize("name", MODELS)


@functools.cache
def network(name: str) -> nn.Module:
    return MODELS[name].build()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def test_listing_imports_no_torch():
    code = "import sys; from models import MODELS; print(len(MODELS)); assert 'torch' not in sys.modules"
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    assert int(listed.stdout) == len(EXPECTED)


@every_model
def test_every_build_gives_the_same_weights_and_leaves_the_random_state(name):
    first = network(name).state_dict()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    second = MODELS[name].build().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every_model
def test_network_is_in_eval_mode_and_small(name):
    assert not any(module.training for module in network(name).modules())
    assert sum(weight.numel() * weight.element_size() for weight in network(name).state_dict().values()) < 30e6


@every_model
def test_normalizations_are_those_of_the_family(name):
    found = Counter(type(module).__name__ for module in network(name).modules() if isinstance(module, NORMALIZATIONS))
    assert found == EXPECTED[name]


KINDS = {
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "BatchNormalization",
    "GlobalResponseNorm": "GlobalResponseNorm (written out)",
    "GroupNorm": "GroupNormalization",
    "InstanceNorm2d": "InstanceNormalization",
    "InterChannelLRN": "LRN (inter-channel)",
    "IntraChannelLRN": "LRN (intra-channel)",
    "LayerNorm": "LayerNormalization",
    "LayerNorm2d": "LayerNormalization",
    "LocalResponseNorm": "LRN (inter-channel)",
    "PerActivationBatchNorm": "BatchNormalization",
    "RMSNorm": "RMSNormalization",
}


@every_model
def test_inspect_names_the_normalizations_of_the_exported_model(name):
    """By the older exporter, which is faster, and writes most of them out before they are recognized."""
    spec, expected = MODELS[name], Counter()
    for layer, count in EXPECTED[name].items():
        expected[KINDS[layer]] += count
    options = {"dynamic_shapes": spec.dynamic_shapes, "exporter": "torchscript", "verify": False}
    model = onnxnorm.export(network(name), spec.example_inputs(), **options)
    records = [record for record in onnxnorm.inspect(model) if record.fate is not onnxnorm.Fate.NEW]
    assert Counter(record.kind for record in records) == expected


@every_model
def test_activations_keep_a_sane_range_through_the_depth(name):
    sizes = []

    def record(module, inputs, output):
        if isinstance(output, torch.Tensor):
            sizes.append((type(module).__name__, output.abs().max().item(), output.std().item()))

    handles = [module.register_forward_hook(record) for module in network(name).modules()]
    try:
        output = network(name)(*MODELS[name].example_inputs())
    finally:
        for handle in handles:
            handle.remove()
    assert all(largest < 1e4 and deviation > 1e-2 for _, largest, deviation in sizes), sizes
    assert 0.1 < output.std().item() < 100


@every_model
def test_items_of_a_batch_differ_and_do_not_see_each_other(name):
    inputs = MODELS[name].example_inputs(2)
    assert tuple(inputs[0].shape) == (2, *MODELS[name].input_shape)
    both = network(name)(*inputs)
    torch.testing.assert_close(both[:1], network(name)(inputs[0][:1]), rtol=1e-3, atol=1e-3 * both.std().item())
    assert (both[0] - both[1]).std() > 1e-3 * both.std()


@every_model
def test_statistics_scales_and_shifts_are_not_trivial(name):
    for module in network(name).modules():
        if isinstance(module, STATISTICS):
            assert 0.24 < module.running_var.min() < 0.6 and 1.6 < module.running_var.max() < 4.01
            assert module.running_mean.std() > 0.2
    normalizations = [module for module in network(name).modules() if isinstance(module, NORMALIZATIONS)]
    scales = [module.weight.flatten() for module in normalizations if hasattr(module, "weight")]
    if scales:
        scale = torch.cat(scales)
        assert (scale < 0).any() and (scale > 0).any() and scale.abs().min() > 0.1
    shifts = [value for key, value in network(name).named_parameters() if key.endswith("bias")]
    assert all(shift.abs().max() > 0.01 for shift in shifts)


@pytest.mark.parametrize("name", ["alexnet", "alexnet-intra", "googlenet"])
def test_response_normalization_matters(name):
    """The sum over the window weighs against the bias: what the layers divide by differs from place to place."""
    divisors = []

    def record(module, inputs, output):
        divisors.append((inputs[0] / output)[output != 0])

    layers = [module for module in network(name).modules() if isinstance(module, NORMALIZATIONS)]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        network(name)(*MODELS[name].example_inputs())
    finally:
        for handle in handles:
            handle.remove()
    assert len(divisors) == 2
    assert all(divisor.std() > 0.05 * divisor.mean() for divisor in divisors)


@every_model
def test_open_axes_are_open(name):
    shape = [3, *MODELS[name].input_shape]
    for axis, label in MODELS[name].dynamic_axes:
        shape[axis] += {"batch": 0, "tokens": 5, "height": 32, "width": 17}[label]
    assert network(name)(torch.randn(shape)).isfinite().all()


def test_picture_is_the_same_every_time_and_uses_the_whole_range():
    first = picture().copy()
    picture.cache_clear()
    assert np.array_equal(picture(), first)
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.min() < 0.02 and first.max() > 0.98 and first.std() > 0.15


def test_png_holds_the_picture(tmp_path):
    path = tmp_path / "picture.png"
    save_png(path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        place += 12 + length
    width, height, depth, color = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (width, height, depth, color) == (WIDTH, HEIGHT, 8, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    assert np.abs(rows[:, 1:].reshape(height, width, 3) / 255 - picture()).max() <= 0.5 / 255 + 1e-9


@pytest.fixture(scope="module")
def main_job(tmp_path_factory):
    """The main job on two models: the folder it wrote, and what it said."""
    folder = tmp_path_factory.mktemp("main_job") / "results"
    command = [sys.executable, "-m", "models", "--only", "per-activation", "alexnet-intra", "--json", "--out", folder]
    return folder, subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_main_job_goes_the_whole_way(main_job):
    folder, ran = main_job
    assert ran.returncode == 0, ran.stderr
    files = {
        f"{name}{suffix}" for name in ("per-activation", "alexnet-intra") for suffix in (".onnx", ".optimized.onnx")
    }
    assert {path.name for path in folder.iterdir()} == files | {"picture.png"}
    results = json.loads(ran.stdout)
    assert results["failures"] == {}
    assert [outcome["name"] for outcome in results["models"]] == ["per-activation", "alexnet-intra"]
    for outcome, normalizations in zip(results["models"], (3, 2), strict=True):
        assert outcome["passed"] is True
        assert outcome["normalizations_before"] == normalizations
        assert 0 <= outcome["normalizations_after"] <= normalizations
        assert 0 < outcome["error_before"] < 1e-5 and 0 < outcome["error_after"] < 1e-5
        assert outcome["latency_before_ms"] > 0 and outcome["latency_after_ms"] > 0
        assert outcome["size_before"] == (folder / f"{outcome['name']}.onnx").stat().st_size


def test_measure_says_so_where_a_result_is_not_the_same(main_job, tmp_path):
    folder, _ = main_job
    model = onnx.load(folder / "per-activation.optimized.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.001), weight.name))
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, wrong)
    outcome = demo.measure(demo.Files("per-activation", folder / "per-activation.onnx", wrong), seconds=0)
    assert not outcome.passed and outcome.reason
    assert outcome.error_after > 10 * outcome.error_before


@pytest.mark.parametrize("kind", ["not made", "broken"])
def test_main_job_fails_where_a_model_fails(kind, tmp_path, monkeypatch, capsys):
    """A model that could not be made, or whose files are no models: one line of error, and the exit code is 1."""
    made = {"unet": "no such operator"}
    if kind == "broken":
        made["unet"] = demo.Files("unet", tmp_path / "a.onnx", tmp_path / "b.onnx")
        made["unet"].exported.write_bytes(b"no model")
    monkeypatch.setattr(main_module, "make_all", lambda names, folder: ((name, made[name]) for name in names))
    assert main_module.main(["--only", "unet", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: unet: ")


def test_main_job_refuses_an_unknown_model(capsys):
    with pytest.raises(SystemExit) as ended:
        main_module.main(["--only", "no-such-model"])
    assert ended.value.code == 2
    assert "no-such-model" in capsys.readouterr().err


def test_main_job_refuses_a_folder_that_is_a_file(tmp_path, capsys):
    file = tmp_path / "results"
    file.touch()
    assert main_module.main(["--only", "unet", "--out", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
