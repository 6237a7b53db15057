"""Lists which idioms each runtime makes one node of: data, with its source.

Sources are files of the runtimes themselves, at the releases that `bench/targets.py` measures: onnxruntime 1.32 (its
graph optimizers, `onnxruntime/core/optimizer`, and its tool for transformers, `onnxruntime/python/tools/transformers`)
and OpenVINO 2026.4 (`src/common/transformations/src/transformations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxnorm.idioms.idiom import Kind

__all__ = ["FUSIONS", "Fusion", "fused_for"]


@dataclass(frozen=True)
class Fusion:
    """A fusion of a runtime: the idiom, the operators that it becomes, and the source that says so."""

    kind: Kind
    becomes: tuple[str, ...]
    source: str


_ORT = "onnxruntime/core/optimizer/"
_TOOL = "onnxruntime/python/tools/transformers/"
_OPENVINO = "src/common/transformations/src/transformations/common_optimizations/"

FUSIONS: Mapping[str, tuple[Fusion, ...]] = {
    "onnxruntime": (
        Fusion(Kind.GELU, ("Gelu", "BiasGelu"), _ORT + "gelu_fusion.cc, bias_gelu_fusion.cc"),
        Fusion(Kind.TANH_GELU, ("FastGelu", "Gelu"), _TOOL + "fusion_fastgelu.py, " + _ORT + "fast_gelu_fusion.cc"),
        Fusion(Kind.SWISH, ("QuickGelu",), _ORT + "quick_gelu_fusion.cc"),
        Fusion(
            Kind.LAYER_NORM,
            ("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"),
            _ORT + "layer_norm_fusion.cc, skip_layer_norm_fusion.cc, embed_layer_norm_fusion.cc",
        ),
        Fusion(
            Kind.RMS_NORM,
            ("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"),
            _ORT + "layer_norm_fusion.cc, " + _TOOL + "fusion_simplified_layernorm.py",
        ),
        Fusion(
            Kind.ATTENTION,
            ("Attention", "MultiHeadAttention", "FusedMatMul"),
            _ORT + "attention_fusion.cc, matmul_scale_fusion.cc, " + _TOOL + "fusion_attention.py",
        ),
        Fusion(
            Kind.DYNAMIC_QUANTIZATION,
            ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
            _ORT + "dynamic_quantize_matmul_fusion.cc, matmul_integer_to_float.cc",
        ),
        Fusion(Kind.ROTARY, ("RotaryEmbedding",), _TOOL + "fusion_rotary_attention.py"),
        Fusion(Kind.QUANTIZED_ARITHMETIC, ("QLinearAdd", "QLinearMul"), _ORT + "qdq_transformer/selectors_actions"),
        Fusion(Kind.BIAS, ("Gemm", "BiasGelu", "SkipLayerNormalization"), _ORT + "matmul_add_fusion.cc"),
    ),
    "openvino": (
        Fusion(Kind.GELU, ("Gelu",), _OPENVINO + "gelu_fusion.cpp"),
        Fusion(Kind.TANH_GELU, ("Gelu",), _OPENVINO + "gelu_fusion.cpp"),
        Fusion(Kind.SWISH, ("Swish",), _OPENVINO + "swish_fusion.cpp"),
        Fusion(Kind.HARD_SWISH, ("HSwish",), _OPENVINO + "hswish_fusion.cpp"),
        Fusion(Kind.MISH, ("Mish",), _OPENVINO + "mish_fusion.cpp"),
        Fusion(Kind.SOFTPLUS, ("SoftPlus",), _OPENVINO + "softplus_fusion.cpp"),
        Fusion(Kind.LAYER_NORM, ("MVN",), _OPENVINO + "mvn_fusion.cpp"),
        Fusion(Kind.RMS_NORM, ("RMS",), _OPENVINO + "rms_fusion.cpp"),
        Fusion(Kind.ATTENTION, ("ScaledDotProductAttention",), _OPENVINO + "sdpa_fusion.cpp"),
        Fusion(Kind.ROTARY, ("RoPE",), _OPENVINO + "fuse_rotary_positional_embeddings.cpp"),
        Fusion(Kind.BIAS, ("FullyConnected",), "src/plugins/intel_cpu/src/graph_optimizer.cpp"),
        Fusion(Kind.ELEMENTWISE, ("Subgraph",), "src/common/snippets/src/pass/collapse_subgraph.cpp"),
    ),
}

# A result for any runtime keeps what either fuses, except hard swish: onnxruntime does not fuse it, and there its
# factor of 1/6 is a node that goes into the next convolution; OpenVINO runs either form inside the convolution before.
# Nor does onnxruntime run a normalization in one loop with its neighbours.
_PORTABLE = frozenset(fusion.kind for own in FUSIONS.values() for fusion in own) - {Kind.HARD_SWISH, Kind.ELEMENTWISE}
_LIKE: Mapping[str, str] = {"web": "onnxruntime"}


def fused_for(target: str) -> frozenset[Kind]:
    """Return the kinds that a model for the target must keep whole."""
    own = FUSIONS.get(_LIKE.get(target, target))
    return _PORTABLE if own is None else frozenset(fusion.kind for fusion in own)
