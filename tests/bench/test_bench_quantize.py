"""A short form of `python -m bench quantize`: on nets that are not trained, equalizing wins back what int8 had lost."""

from __future__ import annotations

import numpy as np
import pytest

import onnxnorm

torch = pytest.importorskip("torch")


def test_equalizing_wins_back_what_rescaled_channels_lose() -> None:
    from bench.quantize import NETS, int8, outputs_of, rescaled, signal_to_noise

    torch.manual_seed(0)
    net = NETS["mobilenet"]()
    images = np.random.default_rng(0).random((8, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        net.train()(torch.from_numpy(images))
    model = onnxnorm.export(net.eval(), (torch.zeros(1, 1, 8, 8),), verify=False)
    folded = onnxnorm.optimize(model, verify=False).model
    uneven = rescaled(folded)
    even = onnxnorm.optimize(uneven, prepare="int8", verify=False).model
    wanted = outputs_of(model, images)
    for form in (folded, uneven, even):
        assert signal_to_noise(wanted, outputs_of(form, images)) > 80
    found = [
        signal_to_noise(wanted, outputs_of(int8(form, images, per_channel=False), images)) for form in (uneven, even)
    ]
    assert found[1] > found[0] + 6
