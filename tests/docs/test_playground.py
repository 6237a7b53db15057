"""Tests of the LRN playground in a browser: its figures are those of the reference, with and without WebAssembly."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnorm import reference
from tests.report.browser import Page

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOT = "document.getElementById('lrn-playground')"
RAMP = np.arange(1.0, 9.0)


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("playground", DOCS / "playground.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def kept_models() -> dict[str, Any]:
    text = (DOCS / "tutorial" / "playground" / "models.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("const LRN_MODELS = ").removesuffix(";\n"))


def test_the_models_are_those_that_are_exported(module: ModuleType) -> None:
    pytest.importorskip("torch")
    text = module.models()
    assert json.loads(text.removeprefix("const LRN_MODELS = ").removesuffix(";\n")) == kept_models()


@pytest.mark.parametrize("kind", ["across", "within"])
def test_each_constant_stands_where_it_is_said_to(kind: str) -> None:
    import base64
    import struct

    told = kept_models()[kind]
    data = bytearray(base64.b64decode(told["model"]))
    for name, places in told["places"].items():
        for place in places:
            data[place : place + (1 if name in ("size", "kernel_shape") else 4)] = (
                b"\x07" if name in ("size", "kernel_shape") else struct.pack("<f", 0.625)
            )
    (node,) = onnx.load_from_string(bytes(data)).graph.node
    values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    assert values.pop("size", None) == 7 or values.pop("kernel_shape") == [7, 7]
    assert values == {"alpha": 0.625, "beta": 0.625, "bias": 0.625}


@pytest.fixture(scope="module")
def runtime(site: Path) -> Path:
    """Return the folder of a site that has onnxruntime-web; without npm there is none."""
    if not (site / "tutorial" / "playground" / "runtime.js").is_file():
        pytest.skip("the site was built without onnxruntime-web, which npm fetches; the figures come from the formula")
    return site


def opened(browser: Page, site: Path, name: str = "normalization") -> str:
    """Open the tutorial at the playground; return by what its figures were computed."""
    browser.errors()
    browser.driver.get((site / "tutorial" / f"{name}.html").resolve().as_uri())
    browser.driver.execute_script(f"{ROOT}.scrollIntoView()")
    return answered(browser)


def answered(browser: Page) -> str:
    for _ in range(300):
        if way := browser.value(f"{ROOT}.dataset.ready"):
            return str(way)
        time.sleep(0.1)
    raise AssertionError("the playground did not answer")


@pytest.fixture(scope="module")
def playground(browser: Page, runtime: Path) -> Page:
    """Return the page with the playground, opened once for several settings of its controls."""
    assert opened(browser, runtime) == "runtime"
    return browser


def put(browser: Page, **values: object) -> None:
    """Move controls of the playground, as a hand would."""
    for name, value in values.items():
        field = f"document.getElementById('lrn-{name}')"
        browser.driver.execute_script(
            f"{field}.value = arguments[0]; {field}.dispatchEvent(new Event(arguments[1]))",
            value,
            "change" if name in ("kind", "input") else "input",
        )
    answered(browser)


def results(browser: Page) -> np.ndarray:
    return np.array([float(each) for each in json.loads(browser.value(f"{ROOT}.dataset.results"))])


@pytest.mark.parametrize(
    ("n", "k", "alpha", "beta"), [(2, 0, 1, 1), (5, 2, 1e-4, 0.75), (9, 0.5, 0.3, 2), (4, 1, 3, 0.05)]
)
def test_across_channels_as_the_reference(playground: Page, n: int, k: float, alpha: float, beta: float) -> None:
    put(playground, kind="across", input="ramp", n=n, k=k, beta=beta, alpha=alpha_place(alpha))
    wanted = reference.alexnet_lrn(RAMP.reshape(1, 8, 1, 1), n=n, k=k, alpha=alpha, beta=beta).ravel()
    np.testing.assert_allclose(results(playground), wanted, rtol=1e-5)
    assert f"{wanted[0]:.4g}" in playground.find(".lrn-chart").text
    assert playground.errors() == []


@pytest.mark.parametrize(("n", "k", "beta"), [(3, 0, 1), (2, 2, 0.75), (9, 1, 0.6)])
def test_within_a_channel_as_the_reference(playground: Page, n: int, k: float, beta: float) -> None:
    put(playground, kind="within", input="ramp", n=n, k=k, beta=beta, alpha=alpha_place(0.3))
    x = np.tile(RAMP, (8, 1)).reshape(1, 1, 8, 8)
    wanted = reference.intra_channel_lrn(x, kernel_shape=(n, n), alpha=0.3 * n * n, beta=beta, bias=k)
    np.testing.assert_allclose(results(playground), wanted.ravel(), rtol=1e-5)
    assert f"alpha = {0.3 * n * n:.4g}" in playground.find("#lrn-playground code").text
    playground.shot("playground-within")
    assert playground.errors() == []


def alpha_place(alpha: float) -> int:
    return [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10].index(alpha)


def test_a_choice_shows_its_sum_and_own_numbers_count(playground: Page) -> None:
    playground.find("[data-preset=example]").click()
    answered(playground)
    assert playground.find(".lrn-sum").text == "1 / (0 + 1 · (1² + 1²)) ^ 1 = 0.5"
    playground.driver.execute_script("document.querySelectorAll('.lrn-place')[2].focus()")
    playground.press("\ue007")
    assert playground.find(".lrn-sum").text == "1 / (0 + 1 · (1² + 1² + 1²)) ^ 1 = 0.3333"
    playground.driver.execute_script(
        "const field = document.querySelectorAll('.lrn-fields input')[2];"
        "field.value = 2; field.dispatchEvent(new Event('change'))"
    )
    assert answered(playground) == "runtime"
    assert results(playground)[2] == pytest.approx(2 / 6) and results(playground)[1] == pytest.approx(1 / 6)
    playground.find("[data-preset=zero]").click()
    answered(playground)
    assert np.isnan(results(playground)).all()
    playground.shot("playground")
    assert playground.errors() == []


def test_without_webassembly_the_page_says_so_and_uses_the_formula(browser: Page, site: Path) -> None:
    code = {"source": "delete window.WebAssembly"}
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", code)
    try:
        assert opened(browser, site) == "formula"
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert "no WebAssembly" in browser.find(".lrn-told").text
    assert browser.find(".lrn-chart").text.count("0.3333") == 6
    put(browser, n=9, k=1)
    assert "channel 0\n0.1667\n" in browser.find(".lrn-chart").text


def test_without_the_runtime_the_page_says_so(browser: Page, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site / "tutorial", tmp_path / "tutorial", ignore=shutil.ignore_patterns("runtime.js"))
    assert opened(browser, tmp_path, "normalization.zh") == "formula"
    assert "没有 npm" in browser.find(".lrn-told").text
    assert browser.find(".lrn-chart").text.count("0.3333") == 6
