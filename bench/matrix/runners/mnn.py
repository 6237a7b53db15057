"""MNN, by its converter."""

import pathlib

from common import installed, main

installed()

import _tools  # noqa: E402
import MNN  # noqa: E402
import numpy as np  # noqa: E402


def bind(path, x):
    # Its converter, called without the command around it, which reports each call over the network.
    made = pathlib.Path(path + ".mnn")
    arguments = ["-f", "ONNX", "--modelFile", path, "--MNNModel", str(made), "--bizCode", "x"]
    _tools.mnnconvert(["mnnconvert", *arguments])
    if not made.exists():
        raise RuntimeError("its converter refuses it")
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
