"""Time and memory of a verification beside those of one run, and beside other tools' checks.

    python -m bench verify [--models ResNet-50,DenseNet-121,BERT,chain,large] [--gigabytes 3.6] [--rivals]
        [--out docs/verification.md]

Every figure is of a process of its own, imports included: seconds of the processor, which other work disturbs less,
and the peak of resident memory that is no mapped file. `run` loads the original in onnxruntime and runs it once,
`--no-verify` optimizes it, `optimize` verifies too, and `verify` compares the original with that result alone. The
rivals compare the same two files: onnxsim's check, and Polygraphy's comparison of runs of both in onnxruntime. Both
look at the outputs of one random input by a tolerance. Rivals that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.large import make
from bench.pages import COUNT, FIGURE, Section, add_out
from bench.scale import chain
from bench.tables import Table

RUN = (
    "import sys,numpy as np,onnxruntime as o; s=o.SessionOptions(); s.intra_op_num_threads=1; s.log_severity_level=4; "
    "m=o.InferenceSession(sys.argv[1],s,providers=['CPUExecutionProvider']); "
    "m.run(None,{i.name:np.ones([d if isinstance(d,int) else 1 for d in i.shape],"
    "np.int64 if 'int64' in i.type else np.float32) for i in m.get_inputs()})"
)
RIVALS = {
    "onnxsim": "import sys,onnx; from onnxsim import model_checking as c; "
    "sys.exit(not c.compare(sys.argv[2],sys.argv[1],1,{}))",
    "polygraphy": """import sys
from polygraphy.tools import main
original, result = sys.argv[1:]
for options in ([original, "--onnxrt", "--save-outputs", result + ".json"],
                [result, "--onnxrt", "--load-outputs", result + ".json"]):
    sys.argv = ["polygraphy", "run", *options]
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    if code:
        sys.exit(code)
""",
}
LIMIT = 600.0
COSTS = rf"{FIGURE} s, {COUNT} MB|failed \(-?\d+\)"
SECTIONS = (
    Section(
        "verify --rivals",
        "docs/verification.md",
        (
            {
                "model": rf"[\w-]+, {COUNT} nodes",
                "one run": COSTS,
                "`optimize --no-verify`": COSTS,
                "`optimize`": COSTS,
                "`verify`": COSTS,
                **dict.fromkeys(RIVALS, rf"{COSTS}|-"),
            },
        ),
        ("onnx", "onnxruntime", *RIVALS),
    ),
)


class _Net:
    """A network under construction; weights are random, scaled so that values stay near one."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], f"{op_type}_{len(self.nodes)}", **attributes))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        weight = self.random.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2)
        pads = [kernel // 2] * 4
        return self.node("Conv", x, self.constant(weight), pads=pads, strides=[stride, stride])

    def norm(self, x: str, channels: int) -> str:
        draws = [self.random.uniform(0.5, 1.5, channels), self.random.normal(0, 0.1, channels)]
        draws += [self.random.normal(0, 0.1, channels), self.random.uniform(0.5, 1.5, channels)]
        return self.node("BatchNormalization", x, *map(self.constant, draws))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.constant(self.random.standard_normal((inputs, outputs)) / np.sqrt(inputs))
        return self.node("Add", self.node("MatMul", x, weight), self.constant(self.random.normal(0, 0.1, outputs)))

    def layer_norm(self, x: str, width: int) -> str:
        scale, shift = self.random.uniform(0.5, 1.5, width), self.random.normal(0, 0.1, width)
        return self.node("LayerNormalization", x, self.constant(scale), self.constant(shift), axis=-1)

    def model(self, shape: list[int], output: str) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "network", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet(size: int = 224) -> onnx.ModelProto:
    """ResNet-50 (He et al. 2015)."""
    net = _Net()
    x = net.node("Relu", net.norm(net.conv("x", 3, 64, 7, 2), 64))
    x, channels = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            y = net.node("Relu", net.norm(net.conv(x, channels, width, 1), width))
            y = net.node("Relu", net.norm(net.conv(y, width, width, 3, stride), width))
            y = net.norm(net.conv(y, width, 4 * width, 1), 4 * width)
            if block == 0:
                x = net.norm(net.conv(x, channels, 4 * width, 1, stride), 4 * width)
            x, channels = net.node("Relu", net.node("Add", y, x)), 4 * width
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model([1, 3, size, size], net.linear(x, channels, 1000))


def densenet(size: int = 224) -> onnx.ModelProto:
    """DenseNet-121 (Huang et al. 2017)."""
    net = _Net()
    x = net.node("Relu", net.norm(net.conv("x", 3, 64, 7, 2), 64))
    x, channels = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for stage, blocks in enumerate((6, 12, 24, 16)):
        if stage:
            x = net.conv(net.node("Relu", net.norm(x, channels)), channels, channels // 2, 1)
            x, channels = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), channels // 2
        for _ in range(blocks):
            y = net.conv(net.node("Relu", net.norm(x, channels)), channels, 128, 1)
            y = net.conv(net.node("Relu", net.norm(y, 128)), 128, 32, 3)
            x, channels = net.node("Concat", x, y, axis=1), channels + 32
    x = net.node("Flatten", net.node("GlobalAveragePool", net.node("Relu", net.norm(x, channels))))
    return net.model([1, 3, size, size], net.linear(x, channels, 1000))


def bert(layers: int = 12, width: int = 768, tokens: int = 128) -> onnx.ModelProto:
    """The encoder of BERT-base (Devlin et al. 2018), without its embeddings."""
    net, heads, x = _Net(), width // 64, "x"
    split = net.node("Constant", value=numpy_helper.from_array(np.array([0, 0, heads, 64])))
    merged = net.node("Constant", value=numpy_helper.from_array(np.array([0, 0, width])))
    for _ in range(layers):
        q, k, v = (net.node("Reshape", net.linear(x, width, width), split) for _ in range(3))
        q, v = (net.node("Transpose", each, perm=[0, 2, 1, 3]) for each in (q, v))
        scores = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 2, 3, 1]))
        scores = net.node("Softmax", net.node("Div", scores, net.constant(np.float32(8.0))), axis=-1)
        mixed = net.node("Transpose", net.node("MatMul", scores, v), perm=[0, 2, 1, 3])
        x = net.layer_norm(net.node("Add", net.linear(net.node("Reshape", mixed, merged), width, width), x), width)
        y = net.linear(x, width, 4 * width)
        half = net.node("Mul", y, net.constant(np.float32(0.5)))
        bent = net.node("Erf", net.node("Div", y, net.constant(np.float32(np.sqrt(2.0)))))
        y = net.node("Mul", half, net.node("Add", bent, net.constant(np.float32(1.0))))
        x = net.layer_norm(net.node("Add", net.linear(y, 4 * width, width), x), width)
    return net.model([1, tokens, width], x)


def measure(command: list[str], limit: float) -> tuple[float, float, int]:
    """Seconds of the processor, peak of resident memory that is no mapped file in MB, exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    peak, usage = 0, [0.0]
    ticks = os.sysconf("SC_CLK_TCK")

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            usage[0] = sum(map(int, fields[11:15])) / ticks
            for line in status.splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    watcher.join()
    return usage[0], peak / 1024, process.returncode


def told(command: list[str]) -> str:
    seconds, megabytes, code = measure(command, LIMIT)
    return f"{seconds:.1f} s, {megabytes:.0f} MB" if code == 0 else f"failed ({code})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="ResNet-50,DenseNet-121,BERT,chain,large")
    parser.add_argument("--gigabytes", type=float, default=3.6, help="of the large model")
    parser.add_argument("--blocks", type=int, default=16000, help="of three nodes in the chain")
    parser.add_argument("--rivals", action="store_true")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    makers: dict[str, Callable[[], onnx.ModelProto]] = {
        "ResNet-50": resnet,
        "DenseNet-121": densenet,
        "BERT": bert,
        "chain": lambda: chain(arguments.blocks),
    }
    rivals = {name for name in RIVALS if arguments.rivals and importlib.util.find_spec(name) is not None}
    table = Table(*SECTIONS[0].tables[0])
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            if name == "large":
                path = make(Path(folder) / "large", arguments.gigabytes, folded=True)
            else:
                path = Path(folder) / f"{name}.onnx"
                onnx.save(makers[name](), path)
            result = path.with_name("result.onnx")
            tool = [sys.executable, "-m", "onnxnorm"]
            table.add(
                f"{name}, {len(onnx.load(path, load_external_data=False).graph.node)} nodes",
                told([sys.executable, "-c", RUN, str(path)]),
                told([*tool, "optimize", str(path), str(result), "--no-verify"]),
                told([*tool, "optimize", str(path), str(result)]),
                told([*tool, "verify", str(path), str(result), "--samples", "2"]),
                *(
                    told([sys.executable, "-c", code, str(path), str(result)]) if each in rivals else "-"
                    for each, code in RIVALS.items()
                ),
            )
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])


if __name__ == "__main__":
    main()
