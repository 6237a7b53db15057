"""tract, in Rust."""

from common import installed, main

installed()

import tract  # noqa: E402


def bind(path, x):
    model = tract.onnx().model_for_path(path)
    model.set_input_fact(
        0, f"{','.join(map(str, x.shape))},{ {'float32': 'f32', 'float16': 'f16'}.get(str(x.dtype), 'f64') }"
    )
    for place in range(model.output_count()):
        model.set_output_fact(place, None)
    model.analyse()
    runnable = model.into_typed().into_optimized().into_runnable()
    return [lambda x: runnable.run([x])[0].to_numpy()]


main(bind)
