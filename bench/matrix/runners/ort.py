"""onnxruntime: optimizations off and on, with the kernels, or by way of its own format."""

from common import installed, main

OPTIONS = installed()

import onnxruntime  # noqa: E402


def options():
    made = onnxruntime.SessionOptions()
    made.log_severity_level, made.intra_op_num_threads = 4, 1
    if "library" in OPTIONS:
        import os

        made.register_custom_ops_library(os.environ["ONNXNORM_LIBRARY"])
    return made


def bind(path, x):
    levels = onnxruntime.GraphOptimizationLevel
    for level in OPTIONS:
        if level == "library":
            continue
        made, file = options(), path
        made.graph_optimization_level = levels.ORT_DISABLE_ALL if level == "off" else levels.ORT_ENABLE_ALL
        if level == "ort":
            file = path + ".ort"
            made.optimized_model_filepath = file
            made.add_session_config_entry("session.save_model_format", "ORT")
            onnxruntime.InferenceSession(path, made, providers=["CPUExecutionProvider"])
            made = options()
        session = onnxruntime.InferenceSession(file, made, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        yield lambda x, session=session, name=name: session.run(None, {name: x})[0]


main(bind)
