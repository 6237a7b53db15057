"""OpenVINO on the CPU, in single precision."""

from common import installed, main

installed()

import openvino  # noqa: E402

CORE = openvino.Core()


def bind(path, x):
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = CORE.compile_model(CORE.read_model(path), "CPU", settings)
    return [lambda x: compiled([x])[0]]


main(bind)
