"""tract, in Rust."""

from common import installed, main

installed()

import tract  # noqa: E402

KINDS = {"float32": "f32", "float16": "f16", "float64": "f64"}


def bind(path, x):
    model = tract.onnx().load(path)
    model.set_input_fact(0, f"{','.join(map(str, x.shape))},{KINDS[str(x.dtype)]}")
    model.analyse()
    runnable = model.into_model().into_runnable()
    return [lambda x: runnable.run([x])[0].to_numpy()]


main(bind)
