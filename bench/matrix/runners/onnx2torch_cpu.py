"""PyTorch, by the converter onnx2torch."""

import sys
import types

from common import installed, main

installed()

import torch  # noqa: E402

try:
    import torchvision
except (ImportError, RuntimeError):
    # Only the operators for boxes call it, and no CPU build of it goes with that of torch everywhere.
    torchvision = types.ModuleType("torchvision")
    torchvision.ops = types.ModuleType("torchvision.ops")
    torchvision.ops.roi_align = None
    sys.modules.update({"torchvision": torchvision, "torchvision.ops": torchvision.ops})

import onnx2torch  # noqa: E402

torch.set_num_threads(1)


def bind(path, x):
    module = onnx2torch.convert(path).eval()

    def run(x):
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return [run]


main(bind)
