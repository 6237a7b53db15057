"""Models of gigabytes: time against a copy of the file, peak memory, and the same for other tools.

    python -m bench large [--gigabytes 3.6] [--folder FOLDER] [--rounds 3] [--rivals] [--out docs/benchmarks.md]

Two models are made: one whose every convolution has a BatchNormalization, so that every weight is folded, and one of
large matrices with RMSNormalization, in which nothing is. Copying is `cp` and then `sync` of the copy, since a result
is not there before it is on the disk; times are given in those of `cp` alone too, which leaves much of it in memory.
Before each run the file is copied once more, and the best of all copies and of all rounds counts: a virtual machine
that gave free memory back to its host takes several times as long for the first write to it, whoever writes. Seconds
of the processor are given besides, which other work disturbs less. Peak memory is resident memory that is no mapped
file. Rivals that are not installed are left out; of one that fails, or takes longer than ten times the copy, the exit
code is given.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.scale import compile_package, processor_seconds
from bench.tables import Table

RIVALS = {
    "onnxsim": "import onnxsim,onnx,sys; m,_=onnxsim.simplify(sys.argv[1]); "
    "onnx.save(m,sys.argv[2],save_as_external_data=True)",
    "onnxslim": "import onnxslim,sys; onnxslim.slim(sys.argv[1],sys.argv[2],save_as_external_data=True)",
    "onnxscript rewriter": "import onnx_ir as ir,sys; from onnxscript import rewriter; m=ir.load(sys.argv[1]); "
    "m=rewriter.rewrite(m); ir.save(m,sys.argv[2],external_data='rival.data')",
    "onnxruntime": "import onnxruntime as o,sys; s=o.SessionOptions(); s.optimized_model_filepath=sys.argv[2]; "
    "s.graph_optimization_level=o.GraphOptimizationLevel.ORT_ENABLE_EXTENDED; "
    "s.add_session_config_entry('session.optimized_model_external_initializers_file_name','rival.data'); "
    "o.InferenceSession(sys.argv[1],s)",
}

SECTIONS = (
    Section(
        "large --rivals",
        "docs/benchmarks.md",
        (
            {
                "model": rf"{FIGURE} GB, \w+ weights? folded",
                "tool": TEXT,
                "time": rf"{FIGURE} s|failed \(-?\d+\)",
                "times `cp`": rf"{FIGURE}|-",
                "times `cp` and `sync`": rf"{FIGURE}|-",
                "processor": rf"{FIGURE} s|-",
                "memory": rf"{COUNT} MB|-",
            },
        ),
        ("onnx", *(name.split()[0] for name in RIVALS)),
    ),
)


def external(name: str, shape: tuple[int, ...], offset: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    size = int(np.prod(shape)) * 4
    for key, value in (("location", "model.onnx.data"), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def make(folder: Path, gigabytes: float, *, folded: bool) -> Path:
    """Convolutions of 1024 channels with BatchNormalization, or matrices of 4096 x 4096 with RMSNormalization."""
    random = np.random.default_rng(0)
    folder.mkdir()
    size, shape = (1024, (1024, 1024, 3, 3)) if folded else (4096, (4096, 4096))
    weight_bytes = int(np.prod(shape)) * 4
    blocks = max(1, round(gigabytes * 1e9 / weight_bytes))
    nodes, initializers, x, offset = [], [], "x", 0
    with (folder / "model.onnx.data").open("wb") as data:
        base = random.normal(size=shape).astype(np.float32) / 64

        def add(name: str, array: np.ndarray) -> None:
            nonlocal offset
            data.seek(offset)
            data.write(np.ascontiguousarray(array, np.float32).data)
            initializers.append(external(name, array.shape, offset))
            offset += -(-array.nbytes // 4096) * 4096

        for i in range(blocks):
            add(f"w{i}", base)
            add(f"scale{i}", random.uniform(0.5, 2.0, size).astype(np.float32))
            if folded:
                for name in ("bias", "mean"):
                    add(f"{name}{i}", random.normal(size=size).astype(np.float32))
                add(f"variance{i}", random.uniform(0.5, 2.0, size).astype(np.float32))
                nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]))
                names = [f"{name}{i}" for name in ("scale", "bias", "mean", "variance")]
                nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *names], [f"n{i}"], f"norm{i}"))
                nodes.append(helper.make_node("Relu", [f"n{i}"], [f"y{i}"], f"relu{i}"))
            else:
                nodes.append(helper.make_node("RMSNormalization", [x, f"scale{i}"], [f"n{i}"], f"norm{i}"))
                nodes.append(helper.make_node("MatMul", [f"n{i}", f"w{i}"], [f"m{i}"], f"matmul{i}"))
                nodes.append(helper.make_node("Add", [x, f"m{i}"], [f"y{i}"], f"add{i}"))
            x = f"y{i}"
        data.truncate(offset)
    dims = [1, size, 7, 7] if folded else [1, 8, size]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in ("x", x)]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:], initializers)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), folder / "model.onnx"
    )
    return folder / "model.onnx"


def measure(command: list[str], limit: float) -> tuple[float, float, float, int]:
    """Seconds, seconds of the processor, peak of resident memory without mapped files in MB, exit code."""
    before = processor_seconds()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    watcher.join()
    seconds = time.perf_counter() - start
    return seconds, processor_seconds() - before, peak / 1000, process.returncode


def best_of(
    rounds: int, command: list[str], model: Path, out: Path, copies: list[tuple[float, float, float]]
) -> tuple[float, float, float, int]:
    """As `measure`: the shortest times and the highest peak; one round where it fails. Adds to the times of copies."""
    found: list[tuple[float, float, float, int]] = []
    while len(found) < rounds and not any(code for *_, code in found):
        copies.append(copy_times(model, out))
        limit = 10 * max(30.0, *(synced for _, synced, _ in copies))
        out.mkdir()
        found.append(measure(command, limit))
        shutil.rmtree(out)
    seconds, processor, peaks, codes = zip(*found, strict=True)
    return min(seconds), min(processor), max(peaks), codes[-1]


def copy_times(model: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds of the copy, of the copy and its way to disk, and of the processor."""
    folder.mkdir()
    before = processor_seconds()
    start = time.perf_counter()
    subprocess.run(["cp", model, f"{model}.data", folder], check=True)
    copied = time.perf_counter() - start
    subprocess.run(["sync", *folder.iterdir()], check=True)
    synced = time.perf_counter() - start
    shutil.rmtree(folder)
    return copied, synced, processor_seconds() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=3.6)
    parser.add_argument("--folder", type=Path, help="where there is room for three times that")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rivals", action="store_true", help="measure other tools too")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    table = Table(*SECTIONS[0].tables[0])
    compile_package()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 3e9 * arguments.gigabytes + 5e9:
            sys.exit(f"error: {folder} has too little room; name another with --folder")
        for folded in (True, False):
            model = make(folder / "model", arguments.gigabytes, folded=folded)
            os.sync()
            size = model.with_name("model.onnx.data").stat().st_size / 1e9
            kind = f"{size:.2f} GB, {'every' if folded else 'no'} weight folded"
            out = folder / "out"
            optimize = [sys.executable, "-m", "onnxnorm", "optimize", str(model), str(out / "out.onnx"), "--no-verify"]
            runs = {"onnxnorm": [*optimize, "--external-data"]}
            if not folded:
                shared = [*optimize[:5], str(model.with_name("shared.onnx")), "--no-verify", "--share-data"]
                runs["onnxnorm --share-data"] = shared
            if arguments.rivals:
                runs |= {
                    name: [sys.executable, "-c", code, str(model), str(out / "out.onnx")]
                    for name, code in RIVALS.items()
                    if importlib.util.find_spec(name.split()[0])
                }
            copies: list[tuple[float, float, float]] = []
            found = {tool: best_of(arguments.rounds, command, model, out, copies) for tool, command in runs.items()}
            copied, synced, processor = (min(times) for times in zip(*copies, strict=True))
            table.add(kind, "cp", f"{copied:.1f} s", "1.00", f"{copied / synced:.2f}", f"{processor:.1f} s", "-")
            for tool, (seconds, busy, peak, code) in found.items():
                if code:
                    table.add(kind, tool, f"failed ({code})", *["-"] * 4)
                    continue
                ratios = f"{seconds / copied:.2f}", f"{seconds / synced:.2f}"
                table.add(kind, tool, f"{seconds:.1f} s", *ratios, f"{busy:.1f} s", f"{peak:.0f} MB")
            shutil.rmtree(folder / "model")
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
