"""The layers against the float64 reference, PyTorch's own layers and numerical gradients."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from onnxnorm import OnnxNormError, reference  # noqa: E402
from onnxnorm.errors import OnnxNormWarning  # noqa: E402
from onnxnorm.layers import InterChannelLRN, IntraChannelLRN, PerActivationBatchNorm  # noqa: E402

RNG = np.random.default_rng(5)


def random(*shape, dtype=torch.float64):
    return torch.tensor(RNG.normal(size=shape)).to(dtype)


def close(got, want, tolerance=1e-13):
    np.testing.assert_allclose(got.detach().double().numpy(), want, rtol=tolerance, atol=tolerance)


# Local response normalization.


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("spatial", [(), (4,), (3, 2), (2, 3, 2), (2, 1, 2, 2)])
def test_inter_channel_lrn_is_the_reference(size, spatial):
    x = random(2, 5, *spatial)
    close(InterChannelLRN(size, 0.5, 0.75, 1.5)(x), reference.inter_channel_lrn(x, size, 0.5, 0.75, 1.5))


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((5,), (3,)), ((5,), (4,)), ((5, 6), (3, 3)), ((4, 3), (2, 5)), ((4, 3), (9, 1)), ((3, 4, 2), (3, 2, 4))],
)
def test_intra_channel_lrn_is_the_reference(shape, kernel):
    x = random(2, 3, *shape)
    close(IntraChannelLRN(kernel, 0.5, 0.6, 1.5)(x), reference.intra_channel_lrn(x, kernel, 0.5, 0.6, 1.5))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("spatial", [(4,), (3, 2), (2, 3, 2)])
def test_from_torch_is_the_layer_of_torch(size, spatial):
    x = random(2, 5, *spatial)
    want = torch.nn.LocalResponseNorm(size, 0.5, 0.75, 1.5)(x)
    close(InterChannelLRN.from_torch(size, 0.5, 0.75, 1.5)(x), want.numpy())


def test_named_constructors_compute_their_own_formula():
    x = random(2, 6, 4, 5)
    for n in (2, 3):
        close(InterChannelLRN.from_alexnet(n, 2.0, 0.3, 0.75)(x), reference.alexnet_lrn(x, n, 2.0, 0.3, 0.75), 1e-12)
    close(InterChannelLRN.from_tensorflow(2, 2.0, 0.3, 0.5)(x), reference.alexnet_lrn(x, 5, 2.0, 0.3, 0.5), 1e-12)
    close(InterChannelLRN.from_onnx(4, 0.3)(x), reference.inter_channel_lrn(x, 4, 0.3))
    close(InterChannelLRN.from_caffe(3, 0.3, 0.75, 2.0)(x), reference.inter_channel_lrn(x, 3, 0.3, 0.75, 2.0))
    close(IntraChannelLRN.from_caffe(3, 0.3)(x), reference.intra_channel_lrn(x, (3, 3), 0.3))
    close(
        IntraChannelLRN.from_alexnet(2, 2.0, 0.3, 0.75)(x),
        reference.intra_channel_lrn(x, (3, 3), 0.3 * 9, 0.75, 2.0),
        1e-12,
    )
    assert IntraChannelLRN.from_alexnet(4, 2.0, 0.3, 0.75, spatial_axes=1).lrn.kernel_shape == (5,)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (InterChannelLRN(3, 0.7, 0.75, 0.5), (2, 4, 3)),
        (InterChannelLRN(4, 0.7, 0.5, 0.5), (2, 4)),
        (InterChannelLRN.from_torch(4, 0.7, 2.0, 0.5), (2, 4, 2, 2)),
        (IntraChannelLRN((3,), 0.7, 0.75, 0.5), (2, 2, 4)),
        (IntraChannelLRN((3, 2), 0.7, 0.75, 0.5), (1, 2, 3, 4)),
        (IntraChannelLRN((2, 3, 2), 0.7, 0.75, 0.5), (1, 1, 3, 2, 3)),
    ],
)
def test_gradients_of_the_lrn_layers(layer, shape):
    assert torch.autograd.gradcheck(layer, random(*shape).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_are_kept_and_half_types_do_not_overflow(dtype):
    x = (random(2, 6, 5, 5) * 500).to(dtype)  # the squares exceed float16
    epsilon = torch.finfo(dtype).eps
    for layer, want in (
        (InterChannelLRN(5), reference.inter_channel_lrn(x.double(), 5)),
        (IntraChannelLRN((3, 3)), reference.intra_channel_lrn(x.double(), (3, 3))),
    ):
        y = layer(x)
        assert y.dtype == dtype
        close(y, want, 2 * epsilon if dtype != torch.float32 else 16 * epsilon)


def test_an_all_zero_window_without_bias_is_nan():
    x = torch.zeros(1, 4, 4, 4)
    x[0, 3, 3, 3] = 2
    with pytest.warns(OnnxNormWarning, match="NaN"):
        layers = [InterChannelLRN(3, bias=0.0), IntraChannelLRN((3, 3), bias=0.0)]
    for layer in layers:
        y = layer(x)
        assert torch.isnan(y[0, 0, 0, 0])
        assert torch.isfinite(y[0, 3, 3, 3])


def test_lrn_layers_have_no_state_and_can_be_copied():
    x = random(2, 4, 3, 3)
    for layer in (InterChannelLRN.from_torch(4), IntraChannelLRN((3, 3))):
        assert layer.state_dict() == {}
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(x), layer(x))


def test_representations_name_every_constant():
    assert repr(InterChannelLRN(5, 1e-4, 0.75, 2)) == "InterChannelLRN(5, alpha=0.0001, beta=0.75, bias=2)"
    assert "longer_side=BACK" in repr(InterChannelLRN.from_torch(4))
    assert "longer_side" not in repr(InterChannelLRN(4))
    assert repr(IntraChannelLRN([3, 5])) == "IntraChannelLRN((3, 5), alpha=0.0001, beta=0.75, bias=1)"
    assert repr(PerActivationBatchNorm((2, 3), momentum=None)) == (
        "PerActivationBatchNorm((2, 3), eps=1e-05, momentum=None, affine=True, track_running_stats=True)"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: InterChannelLRN(0), "size must be at least 1"),
        (lambda: InterChannelLRN(5, alpha=float("nan")), "alpha must be finite"),
        (lambda: InterChannelLRN(5, bias=-1.0), "bias"),
        (lambda: InterChannelLRN.from_caffe(4), "odd sizes only"),
        (lambda: IntraChannelLRN(2.5), "kernel_shape must be a sequence"),
        (lambda: IntraChannelLRN((3, 0)), "kernel_shape must be at least 1"),
        (lambda: IntraChannelLRN((3, 3))(torch.zeros(1, 2, 3)), r"rank 4, not shape \(1, 2, 3\)"),
        (lambda: InterChannelLRN(3)(torch.zeros(4)), r"rank 2 or more .*not shape \(4,\)"),
        (lambda: InterChannelLRN(3)(torch.zeros(1, 4, dtype=torch.int64)), "floating point"),
    ],
)
def test_bad_lrn_layers_are_refused(call, message):
    with pytest.raises(OnnxNormError, match=message):
        call()


# Per-activation batch normalization.


def randomized(layer):
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(random(*p.shape))
        if layer.running_mean is not None:
            layer.running_mean.copy_(random(*layer.running_mean.shape))
            layer.running_var.uniform_(0.2, 3)
    return layer


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 2), (2, 3, 2, 2)])
def test_per_activation_batch_norm_in_evaluation(shape):
    layer = randomized(PerActivationBatchNorm(shape, eps=1e-3, dtype=torch.float64)).eval()
    x = random(4, *shape)
    tensors = [t.detach().numpy() for t in (layer.weight, layer.bias, layer.running_mean, layer.running_var)]
    close(layer(x), reference.per_activation_batch_norm(x, *tensors, 1e-3), 1e-12)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_training_is_batch_norm_1d_on_the_flattened_sample(affine, momentum):
    shape = (3, 4, 2)
    layer = randomized(PerActivationBatchNorm(shape, 1e-3, momentum, affine, dtype=torch.float64))
    twin = torch.nn.BatchNorm1d(24, 1e-3, momentum, affine, dtype=torch.float64)
    twin.load_state_dict({k: v.reshape(-1) if v.ndim else v for k, v in layer.state_dict().items()})
    for _ in range(3):
        x = random(5, *shape)
        mean, variance = reference.batch_statistics(x.numpy(), per_activation=True)
        weight, bias = (layer.weight, layer.bias) if affine else (torch.ones(shape), torch.zeros(shape))
        want = reference.per_activation_batch_norm(x, weight.detach(), bias.detach(), mean, variance, 1e-3)
        close(layer(x), want, 1e-12)
        twin(x.flatten(1))
    for name, value in layer.state_dict().items():
        close(value.reshape(-1) if value.ndim else value, twin.state_dict()[name].numpy())
    x = random(5, *shape)
    close(layer.eval()(x).flatten(1), twin.eval()(x.flatten(1)).detach().numpy())


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = PerActivationBatchNorm((3, 2), track_running_stats=False, dtype=torch.float64).eval()
    x = random(4, 3, 2)
    ones, zeros = np.ones((3, 2)), np.zeros((3, 2))
    want = reference.per_activation_batch_norm(x, ones, zeros, *reference.batch_statistics(x, per_activation=True))
    close(layer(x), want, 1e-12)
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_running_statistics_in_another_memory_layout_are_updated():
    layer = PerActivationBatchNorm((2, 3, 4, 5)).to(memory_format=torch.channels_last)
    assert not layer.running_mean.is_contiguous()
    twin = PerActivationBatchNorm((2, 3, 4, 5))
    x = random(3, 2, 3, 4, 5, dtype=torch.float32)
    layer(x), twin(x)
    assert torch.equal(layer.running_mean, twin.running_mean)
    assert torch.equal(layer.running_var, twin.running_var)


def test_gradients_of_per_activation_batch_norm():
    layer = randomized(PerActivationBatchNorm((2, 3), dtype=torch.float64))
    x = random(4, 2, 3).requires_grad_()

    def call(x, weight, bias):
        state = {"weight": weight, "bias": bias, "running_mean": layer.running_mean.clone()}
        return torch.func.functional_call(layer, state, (x,))

    for training in (True, False):
        layer.train(training)
        assert torch.autograd.gradcheck(call, (x, layer.weight, layer.bias))


def test_training_moves_the_parameters():
    torch.manual_seed(0)
    net = torch.nn.Sequential(PerActivationBatchNorm((2, 3, 3)), InterChannelLRN(3), IntraChannelLRN((3, 3)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    x = torch.randn(8, 2, 3, 3)
    target = torch.tanh(x * 0.5 + 0.2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (net(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PerActivationBatchNorm(()), "shape must be"),
        (lambda: PerActivationBatchNorm((3, 0)), "shape must be"),
        (lambda: PerActivationBatchNorm(2.5), "shape must be"),
        (lambda: PerActivationBatchNorm(3, eps=-1), "eps must be"),
        (lambda: PerActivationBatchNorm(3, eps=float("nan")), "eps must be"),
        (lambda: PerActivationBatchNorm(3, momentum="x"), "momentum must be"),
        (
            lambda: PerActivationBatchNorm((3, 2))(torch.zeros(4, 2, 3)),
            r"takes tensors \(N, 3, 2\), not shape \(4, 2, 3\)",
        ),
    ],
)
def test_bad_batch_norms_are_refused(call, message):
    with pytest.raises(OnnxNormError, match=message):
        call()


def test_a_whole_number_is_a_shape():
    for n in (3, np.int64(3)):
        assert PerActivationBatchNorm(n).running_mean.shape == (3,)


def test_without_torch_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import onnxnorm\n"
        "try: onnxnorm.layers\n"
        "except onnxnorm.OnnxNormError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "onnxnorm[torch]"' in done.stdout


LAYERS = [
    pytest.param(lambda: InterChannelLRN(5, alpha=0.5), (2, 7, 4, 3), id="across"),
    pytest.param(lambda: InterChannelLRN.from_torch(4, alpha=0.5), (2, 7), id="across-even-mirrored"),
    pytest.param(lambda: IntraChannelLRN((2,), alpha=0.5), (2, 3, 5), id="within-1"),
    pytest.param(lambda: IntraChannelLRN(3, alpha=0.5), (2, 3, 5, 6), id="within-square"),
    pytest.param(lambda: IntraChannelLRN((2, 3, 4), alpha=0.5), (2, 3, 5, 4, 3), id="within-3"),
    pytest.param(lambda: PerActivationBatchNorm((3, 4)), (5, 3, 4), id="batch-norm"),
    pytest.param(lambda: PerActivationBatchNorm(4, momentum=None, affine=False), (5, 4), id="batch-norm-average"),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers_script_inside_a_network(make, shape, training):
    torch.manual_seed(0)
    layer, x = make().train(training), torch.randn(shape)
    scripted = torch.jit.script(torch.nn.Sequential(copy.deepcopy(layer)))
    for _ in range(2):
        torch.testing.assert_close(scripted(x), layer(x), rtol=0, atol=0)
    for (name, of_script), (own, buffer) in zip(scripted.named_buffers(), layer.named_buffers(), strict=True):
        assert name.endswith(own)
        torch.testing.assert_close(of_script, buffer)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_scripted_layers_refuse_what_layers_refuse():
    for layer, wrong in (
        (InterChannelLRN(3), torch.zeros(4)),
        (IntraChannelLRN(3), torch.zeros(2, 3, 4)),
        (PerActivationBatchNorm((3, 4)), torch.zeros(2, 3, 5)),
    ):
        with pytest.raises(torch.jit.Error, match=type(layer).__name__):
            torch.jit.script(layer)(wrong)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers_compile_in_one_graph(make, shape):
    torch.manual_seed(0)
    layer, x = make().eval(), torch.randn(shape)
    compiled = torch.compile(copy.deepcopy(layer), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


def test_a_number_is_a_square_window():
    assert IntraChannelLRN(3).lrn == IntraChannelLRN((3, 3)).lrn
    assert IntraChannelLRN(np.int64(3)).lrn.kernel_shape == (3, 3)
    for wrong in (0, True, 2.5):
        with pytest.raises(OnnxNormError):
            IntraChannelLRN(wrong)
