"""Writes the small models in `cases/` by the exporters of other frameworks; `test_cases.py` needs none of them.

Each exporter has an environment of its own:

    pip install tensorflow-cpu tf2onnx        and then    python tests/recognize/generate_cases.py tensorflow
    pip install paddlepaddle paddle2onnx packaging        python tests/recognize/generate_cases.py paddle

The files of this collection were written by tensorflow 2.21 with Keras 3 and tf2onnx 1.17, and by paddlepaddle 3.3 with
paddle2onnx 2.1.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "cases"


def _varied(shapes):
    """Weights of both signs that differ from channel to channel, variances that are positive."""
    return [np.linspace(0.5, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape) for shape in shapes]


def tensorflow(folder: Path) -> None:
    import keras
    import tensorflow as tf
    import tf2onnx

    layers = keras.layers
    image, tokens = (2, 5, 4, 6), (2, 3, 6)
    kept = {
        "layer_norm": (layers.LayerNormalization(epsilon=1e-3), tokens),
        "layer_norm_two_axes": (layers.LayerNormalization(axis=[2, 3], epsilon=1e-3), image),
        "rms_norm": (layers.RMSNormalization(epsilon=1e-3), tokens),
        "group_norm": (layers.GroupNormalization(groups=2, epsilon=1e-3), image),
        "batch_norm": (layers.BatchNormalization(epsilon=1e-3), image),
        "batch_norm_of_tokens": (layers.BatchNormalization(epsilon=1e-3), tokens),
        "batch_norm_channels_first": (layers.BatchNormalization(axis=1, epsilon=1e-3), image),
        "unit_norm": (layers.UnitNormalization(axis=-1), tokens),
    }
    functions = {
        "lrn": (lambda x: tf.nn.local_response_normalization(x, 2, 2.0, 0.3, 0.75), image),
        "l2_normalize": (lambda x: tf.math.l2_normalize(x, axis=-1), tokens),
        "moments": (_by_moments, tokens),
    }
    for name, (layer, shape) in kept.items():
        layer.build((None, *shape[1:]))
        layer.set_weights(_varied([w.shape for w in layer.get_weights()]))
        options = {"training": False} if isinstance(layer, layers.BatchNormalization) else {}
        functions[name] = (lambda x, layer=layer, options=options: layer(x, **options), shape)
    for name, (function, shape) in functions.items():
        for open_batch in (False, True):
            spec = tf.TensorSpec((None if open_batch else shape[0], *shape[1:]), tf.float32, name="x")
            path = folder / f"tensorflow_{name}{'_open' if open_batch else ''}.onnx"
            tf2onnx.convert.from_function(
                tf.function(function, input_signature=[spec]), input_signature=[spec], opset=17, output_path=str(path)
            )


def _by_moments(x):
    import tensorflow as tf

    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    scale, offset = (tf.constant(np.linspace(*ends, 6), tf.float32) for ends in ((0.5, 2), (-1, 1)))
    return tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)


def paddle(folder: Path) -> None:
    import paddle
    from paddle import nn

    image, tokens = (2, 6, 5, 4), (2, 3, 6)
    layers = {
        "layer_norm": (nn.LayerNorm(6), tokens),
        "layer_norm_two_axes": (nn.LayerNorm((5, 4), weight_attr=False, bias_attr=False), image),
        "batch_norm": (nn.BatchNorm2D(6), image),
        "instance_norm": (nn.InstanceNorm2D(6), image),
        "group_norm": (nn.GroupNorm(2, 6), image),
        "lrn": (nn.LocalResponseNorm(5, alpha=0.3, beta=0.75, k=2.0), image),
        "normalize": (_normalize(nn), tokens),
        "rms_norm": (_rms_norm(nn), tokens),
    }
    for name, (layer, shape) in layers.items():
        layer.eval()
        for key, value in layer.state_dict().items():
            low = 0.5 if "variance" in key else -1
            value.set_value(np.linspace(low, 2, value.size, dtype=np.float32).reshape(value.shape))
        for open_batch in (False, True):
            spec = paddle.static.InputSpec([None if open_batch else shape[0], *shape[1:]], "float32", "x")
            with tempfile.TemporaryDirectory() as made:
                paddle.onnx.export(layer, f"{made}/m", input_spec=[spec], opset_version=17)
                content = Path(f"{made}/m.onnx").read_bytes()
            (folder / f"paddle_{name}{'_open' if open_batch else ''}.onnx").write_bytes(content)


def _normalize(nn):
    class Normalize(nn.Layer):
        def forward(self, x):
            return nn.functional.normalize(x, axis=-1)

    return Normalize()


def _rms_norm(nn):
    import paddle

    class RMSNorm(nn.Layer):
        """As the language models of PaddleNLP have it."""

        def __init__(self):
            super().__init__()
            self.weight = self.create_parameter([6])

        def forward(self, x):
            variance = x.pow(2).mean(-1, keepdim=True)
            return self.weight * (x * paddle.rsqrt(variance + 1e-6))

    return RMSNorm()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    {"tensorflow": tensorflow, "paddle": paddle}[sys.argv[1]](FOLDER)
