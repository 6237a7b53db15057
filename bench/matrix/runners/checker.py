"""The full check of the package onnx: what it lets through has no output to compare."""

from common import installed, main

installed()

import onnx  # noqa: E402


def bind(path, x):
    onnx.checker.check_model(path, full_check=True)
    return []


main(bind)
