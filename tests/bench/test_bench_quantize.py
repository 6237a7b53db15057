"""A short form of `python -m bench quantize`: on nets that are not trained, equalizing wins back what int8 had lost."""

from __future__ import annotations

import numpy as np
import pytest

import onnxnorm
from testing.builder import Builder

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


def test_a_page_has_its_tables_written_anew_and_harm_is_told() -> None:
    from bench.quantize import document, less_accurate

    page = "before\n<!-- Written by `python -m bench quantize --out docs/quantization.md` from here on. -->\nold\n"
    page += "<!-- To here. -->\nafter\n"
    rows = [("net", form, "98.0", "97.0", "30.0", channel, "31.0") for form, channel in (("as exported", "98.0"),)]
    rows += [("net", "optimized", "98.0", "97.0", "30.0", "90.0", "31.0"), ("net", "rescaled", "1", "1", "1", "1", "1")]
    made = document(page, "python -m bench quantize", rows, [("net", "onnxnorm", 0, "64.0", True)])
    assert "old" not in made and made.startswith("before\n") and made.endswith("after\n")
    assert "| net | optimized | 98.0 | 97.0 |" in made and "| net | onnxnorm | 0 | 64.0 | True |" in made
    assert document(made, "python -m bench quantize", rows, [("net", "onnxnorm", 0, "64.0", True)]) == made
    assert less_accurate(rows) == ["net, optimized: int8 per channel % 90.0 where the model as exported has 98.0"]


def test_half_precision_has_a_row_for_each_converter() -> None:
    from bench.half_precision import HEAD, rows

    b = Builder(dtype=np.float32)
    found = list(rows("net", b.model(b.node("Relu", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))))))
    assert [cells[1] for cells in found][:2] == ["onnxnorm", "onnxruntime"]
    for cells in found[:2]:
        assert len(cells) == len(HEAD) and cells[2] == 0 and cells[5] is True and 60 < float(str(cells[4])) < 80
