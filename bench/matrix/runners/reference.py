"""The reference evaluator of the package onnx."""

from common import installed, main

installed()

from onnx.reference import ReferenceEvaluator  # noqa: E402


def bind(path, x):
    evaluator = ReferenceEvaluator(path)
    return [lambda x: evaluator.run(None, {evaluator.input_names[0]: x})[0]]


main(bind)
