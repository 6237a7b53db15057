"""Tests of onnxnorm/cli/tensor_files.py."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.tensor_files import ShapeOption, growth, read_npz, shape_option, shapes_by_name, split_name, write_npz


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("1,3,224,224", ShapeOption(None, (1, 3, 224, 224))),
        ("x:1,3", ShapeOption("x", (1, 3))),
        ("input:0:7", ShapeOption("input:0", (7,))),
        ("x:0", ShapeOption("x", (0,))),
    ],
)
def test_shapes_are_read(text: str, option: ShapeOption) -> None:
    assert shape_option(text) == option


def test_a_shape_without_a_name_is_that_of_the_only_input() -> None:
    assert shapes_by_name([shape_option("1,2")], ["x"]) == {"x": (1, 2)}
    with pytest.raises(UsageError, match="2 inputs"):
        shapes_by_name([shape_option("1,2")], ["x", "y"])


def test_shapes_for_unknown_inputs_and_twice_for_one_are_refused() -> None:
    with pytest.raises(UsageError, match="no input 'z'"):
        shapes_by_name([shape_option("z:1")], ["x", "y"])
    with pytest.raises(UsageError, match="'x' is given twice"):
        shapes_by_name([shape_option("x:1"), shape_option("x:2")], ["x", "y"])


def test_files_for_inputs_are_split_at_the_longest_name() -> None:
    inputs = ["input", "input:0"]
    assert split_name("input:0:C:/x.npy", inputs) == ("input:0", "C:/x.npy")
    assert split_name("input:x.npy", inputs) == ("input", "x.npy")
    for text in ("other:x.npy", "x.npy", "input:"):
        with pytest.raises(UsageError, match=r"name:file\.npy"):
            split_name(text, inputs)


def test_arrays_come_back_from_npz_whatever_their_names(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "a/b:0": np.array(2.5), "self": np.zeros((0, 2), np.float16)}
    path = tmp_path / "out.npz"
    write_npz(str(path), arrays)
    found = read_npz(str(path))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert list(tmp_path.iterdir()) == [path]


def test_half_written_npz_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    write_npz(str(path), {"x": np.ones(2)})
    before = path.read_bytes()
    with pytest.raises(ValueError):  # an array of objects cannot be written
        write_npz(str(path), {"x": np.ones(2), "y": np.array([object()])})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("text", "ratio"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("150%", 1.5), ("2", 2.0)])
def test_a_growth_is_read_in_percent_or_as_a_ratio(text: str, ratio: float) -> None:
    assert growth(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["", "%", "-1%", "inf", "nan", "much"])
def test_what_is_no_growth_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write 5% or"):
        growth(text)
