"""ncnn, by its converter pnnx."""

import os
import pathlib
import re
import subprocess
import sys

from common import installed, main

installed()

import ncnn  # noqa: E402
import numpy as np  # noqa: E402

KINDS = {"float32": "f32", "float16": "f16", "float64": "f64"}


def bind(path, x):
    program = pathlib.Path(sys.argv[2]) / "pnnx" / "pnnx"
    program.chmod(0o755)
    shape = ",".join(map(str, x.shape))
    # It makes a module of Python beside the file, and renames what a module cannot be called.
    source = pathlib.Path(path).with_name("pnnx_input.onnx")
    source.write_bytes(pathlib.Path(path).read_bytes())
    made = [source.with_name(f"pnnx_input.ncnn.{end}") for end in ("param", "bin")]
    for file in made:
        file.unlink(missing_ok=True)
    done = subprocess.run(
        [program, source.name, f"inputshape=[{shape}]{KINDS[str(x.dtype)]}", "fp16=0"],
        cwd=source.parent,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
    )
    if done.returncode or not all(file.exists() for file in made):
        raise RuntimeError("its converter " + ("ends the process" if done.returncode < 0 else "refuses it"))
    # What it does not know it leaves as it is, or leaves parameters out; ncnn would run something else, or crash.
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("ignore ", "unknown "))]
    parameters = made[0].read_text().splitlines()[2:]
    known = set(ncnn.layer_to_index_names()) if hasattr(ncnn, "layer_to_index_names") else None
    foreign = [line.split()[0] for line in parameters if known is not None and line.split()[0] not in known]
    foreign += [line.split()[0] for line in parameters if line.startswith(("aten::", "pnnx.", "torch.", "F.", "nn."))]
    if foreign or lines:
        raise RuntimeError(f"its converter has no form of {(foreign or [lines[0].split()[1]])[0]}")
    network = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    network.opt.num_threads = 1
    if network.load_param(str(made[0])) or network.load_model(str(made[1])):
        raise RuntimeError("ncnn does not load what its converter makes")

    # The batch axis, which ncnn does not have; 233 where no operator of the file tells pnnx that there is one.
    script = source.with_name("pnnx_input_ncnn.py").read_text()
    of_input, of_output = (int(number) for number in re.findall(r"batch_index=(\d+)", script))

    def run(x):
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(x.astype(np.float32), batch_index=of_input).clone())
        code, result = extractor.extract("out0")
        if code:
            raise RuntimeError(f"ends with code {code}")
        return np.array(result.numpy(batch_index=of_output))

    return [run]


main(bind)
