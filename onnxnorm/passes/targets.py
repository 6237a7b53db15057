"""The targets that a model is optimized for: which normalization nodes a runtime runs well, and what the others become.

`lowered` names the operators that are written out for the target, each with the reason. Where a runtime runs here the
choice is that of `bench/targets.py`, which measures both forms; where it does not, that of its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A target: one runtime, and what it runs well.

    Attributes:
        name: as `optimize(target=...)` takes it.
        source: where the table comes from.
        lowered: operators of ONNX's own domain that are written out, with the reason to continue "the target ...".
        kept_written_out: normalizations that stay as nodes where a model spells them so, with the reason as a sentence:
            their one node stays too, but none is made.
        knows_functions: whether it runs a model that carries functions, as bodies of custom operators. Where not, the
            file is plain: no functions, and what is known when it is written (types, pads, constants) is resolved.
        prefers_standard_lrn: whether `LRN` is better for it than this project's operator.
        counts_padding: whether its AveragePool counts padding where it is asked to. OpenCV 4 does not, and ncnn and
            onnx2torch only where it is the same before and behind; files for the web are to be right there too.
        cuts_bias_of_lrn: whether it computes `LRN` with the whole part of its bias alone.
    """

    name: str
    source: str
    lowered: Mapping[str, str] = field(default_factory=dict)
    kept_written_out: Mapping[str, str] = field(default_factory=dict)
    knows_functions: bool = False
    prefers_standard_lrn: bool = False
    counts_padding: bool = True
    cuts_bias_of_lrn: bool = False

    def runs_lrn(self, bias: float) -> bool:
        """Whether `LRN` with this bias is best left as it is."""
        return self.prefers_standard_lrn and not (self.cuts_bias_of_lrn and not bias.is_integer())


_ALL = (
    Target(
        "portable",
        "python -m bench matrix: any runtime that reads the standard operators of the model's opset; bench/targets.py",
        kept_written_out={
            "GroupNormalization": "stays written out, since a portable file may be run by onnxruntime, which takes "
            "nearly twice as long for the one node"
        },
        counts_padding=False,
    ),
    Target(
        "onnxruntime",
        "bench/targets.py, onnxruntime 1.32 on a CPU with AVX2",
        {"GroupNormalization": "takes nearly twice as long for GroupNormalization as for what it is made of"},
        knows_functions=True,
    ),
    Target(
        "openvino",
        "bench/targets.py, OpenVINO 2026.4 on a CPU with AVX2",
        {"LpNormalization": "takes nearly twice as long for LpNormalization as for what it is made of"},
        prefers_standard_lrn=True,
        cuts_bias_of_lrn=True,
    ),
    Target(
        "tensorrt",
        # Lists all normalizations of ONNX, LayerNormalization with its first output alone; no model-local functions.
        "onnx-tensorrt, docs/operators.md for TensorRT 10.15 (opsets 9 to 24)",
        prefers_standard_lrn=True,
    ),
    Target(
        "web",
        # Lists BatchNormalization, InstanceNormalization and LayerNormalization, and neither LRN nor the others.
        "onnxruntime, js/web/docs/webgpu-operators.md",
        {
            "GroupNormalization": "has no kernel for GroupNormalization",
            "LpNormalization": "has no kernel for LpNormalization on the GPU",
            "MeanVarianceNormalization": "has no kernel for MeanVarianceNormalization on the GPU",
            "RMSNormalization": "has no kernel for RMSNormalization",
        },
        counts_padding=False,
    ),
)

TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in _ALL})
