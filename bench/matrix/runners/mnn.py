"""MNN, by its converter."""

import os
import pathlib
import subprocess
import sys

from common import installed, main

installed()

import MNN  # noqa: E402
import numpy as np  # noqa: E402

KINDS = {"float32": "float"}


def bind(path, x):
    converter = f"{sys.argv[2]}/bin/mnnconvert"
    command = [
        sys.executable,
        converter,
        "-f",
        "ONNX",
        "--modelFile",
        path,
        "--MNNModel",
        path + ".mnn",
        "--bizCode",
        "x",
    ]
    done = subprocess.run(command, env=dict(os.environ, PYTHONPATH=sys.argv[2]), capture_output=True, text=True)
    if done.returncode or not pathlib.Path(path + ".mnn").exists():
        raise RuntimeError("its converter " + ("ends the process" if done.returncode < 0 else "refuses it"))
    network = MNN.Interpreter(path + ".mnn")
    session = network.createSession({"backend": "CPU", "precision": "high", "numThread": 1})
    given = network.getSessionInput(session)
    network.resizeTensor(given, x.shape)
    network.resizeSession(session)

    def run(x):
        given.copyFrom(MNN.Tensor(x.shape, MNN.Halide_Type_Float, x.astype(np.float32), MNN.Tensor_DimensionType_Caffe))
        network.runSession(session)
        result = network.getSessionOutput(session)
        host = MNN.Tensor(
            result.getShape(),
            MNN.Halide_Type_Float,
            np.zeros(result.getShape(), np.float32),
            MNN.Tensor_DimensionType_Caffe,
        )
        result.copyToHostTensor(host)
        return np.array(host.getData()).reshape(result.getShape())

    return [run]


main(bind)
