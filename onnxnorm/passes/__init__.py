"""Public: the passes over a model, one a file; the pipelines are plain tuples of their names, in the order they run.

Each class is an `onnx_ir.passes.InPlacePass` that can be made without arguments, alone or in a pipeline of one's own:

    import onnx_ir as ir
    from onnxnorm import passes

    journal = passes.Journal()
    pipeline = ir.passes.Sequential(passes.InferShapes(), passes.FoldAffines(journal), passes.CleanUp())
    pipeline(model)
    print(journal.rewrites, journal.declined)

Nothing is verified then; `onnxnorm.optimize(model, passes=[...])` takes names of passes and passes of anybody, works on
a copy, and verifies the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Decline, Journal, Rewrite
from onnxnorm.linear import Family
from onnxnorm.passes.absorb_pads import AbsorbPads
from onnxnorm.passes.accelerate import Accelerate
from onnxnorm.passes.account import Account
from onnxnorm.passes.clean import CleanUp
from onnxnorm.passes.equalize import Equalization, Equalize
from onnxnorm.passes.flatten_products import FlattenProducts
from onnxnorm.passes.fold_affines import FoldAffines
from onnxnorm.passes.fold_constants import FoldConstants
from onnxnorm.passes.fuse_gemm import FuseGemm
from onnxnorm.passes.infer_shapes import InferShapes
from onnxnorm.passes.inline_functions import InlineFunctions
from onnxnorm.passes.lower import Lower
from onnxnorm.passes.merge_branches import MergeBranches
from onnxnorm.passes.recognize import Recognize
from onnxnorm.passes.share_constants import ShareConstants
from onnxnorm.passes.simplify import Simplify

__all__ = [
    "DEFAULT",
    "FOLDING",
    "PASSES",
    "AbsorbPads",
    "Accelerate",
    "Account",
    "CleanUp",
    "Decline",
    "Equalization",
    "Equalize",
    "FlattenProducts",
    "FoldAffines",
    "FoldConstants",
    "FuseGemm",
    "InferShapes",
    "InlineFunctions",
    "Journal",
    "Lower",
    "MergeBranches",
    "PassSettings",
    "Recognize",
    "Rewrite",
    "ShareConstants",
    "Simplify",
]


@dataclass(frozen=True)
class PassSettings:
    """The settings that a pass may want to know beside the model.

    Attributes:
        target: what the result is to run on.
        transformation: what the passes over one model hand on to each other; None where each stands alone.
        equalization: the choices of `equalize`.
        for_int8: the result is to be quantized, so that branches and norms stay without which it would round worse.
    """

    target: str = "portable"
    transformation: Transformation | None = None
    equalization: Equalization | None = None
    for_int8: bool = False


PassMaker: TypeAlias = Callable[[Journal, PassSettings], ir.passes.PassBase]

_MERGING = ("merge_convolutions", "merge_products")

PASSES: Mapping[str, PassMaker] = {
    "inline_functions": lambda journal, settings: InlineFunctions(journal),
    "inline_for_target": lambda journal, settings: InlineFunctions(journal, target=settings.target),
    "infer_shapes": lambda journal, settings: InferShapes(),
    # Normalizations that share what they compute are recognized as they are written.
    "simplify_first": lambda journal, settings: Simplify(
        journal, target=settings.target, transformation=settings.transformation
    ),
    "simplify": lambda journal, settings: Simplify(
        journal, target=settings.target, duplicates=True, transformation=settings.transformation
    ),
    "recognize": lambda journal, settings: Recognize(
        journal, target=settings.target, transformation=settings.transformation
    ),
    "flatten_products": lambda journal, settings: FlattenProducts(journal, transformation=settings.transformation),
    # What merging takes away need not be moved: only what is in a branch by itself goes before.
    "fold_affines_nearby": lambda journal, settings: FoldAffines(
        journal, nearby=True, target=settings.target, transformation=settings.transformation
    ),
    "fold_affines": lambda journal, settings: FoldAffines(
        journal, target=settings.target, for_int8=settings.for_int8, transformation=settings.transformation
    ),
    # Affines that had to stop at a branch, or went past it, may fit into what the branches have become.
    "fold_affines_again": lambda journal, settings: FoldAffines(
        journal,
        after=_MERGING,
        target=settings.target,
        for_int8=settings.for_int8,
        transformation=settings.transformation,
    ),
    "merge_convolutions": lambda journal, settings: MergeBranches(
        journal,
        "merge_convolutions",
        Family.CONVOLUTION,
        for_int8=settings.for_int8,
        transformation=settings.transformation,
    ),
    "merge_products": lambda journal, settings: MergeBranches(
        journal,
        "merge_products",
        Family.PRODUCT,
        Family.LEFT_PRODUCT,
        target=settings.target,
        for_int8=settings.for_int8,
        transformation=settings.transformation,
    ),
    "fold_constants": lambda journal, settings: FoldConstants(journal, transformation=settings.transformation),
    "absorb_pads": lambda journal, settings: AbsorbPads(journal, transformation=settings.transformation),
    "fuse_gemm": lambda journal, settings: FuseGemm(journal, transformation=settings.transformation),
    "accelerate": lambda journal, settings: Accelerate(
        journal, target=settings.target, transformation=settings.transformation
    ),
    "lower": lambda journal, settings: Lower(journal, target=settings.target, transformation=settings.transformation),
    "equalize": lambda journal, settings: Equalize(
        journal, settings.equalization, target=settings.target, transformation=settings.transformation
    ),
    "share_constants": lambda journal, settings: ShareConstants(transformation=settings.transformation),
    "clean": lambda journal, settings: CleanUp(),
    "account": lambda journal, settings: Account(
        journal, target=settings.target, transformation=settings.transformation
    ),
}

FOLDING: tuple[str, ...] = ("inline_functions", "infer_shapes", "flatten_products", "fold_affines", "clean", "account")
DEFAULT: tuple[str, ...] = (
    "inline_for_target",
    "infer_shapes",
    "simplify_first",
    "recognize",
    "simplify",
    "flatten_products",
    "fold_affines_nearby",
    "merge_convolutions",
    "merge_products",
    "fold_affines",
    "fold_constants",
    "merge_convolutions",
    "merge_products",
    "fold_affines_again",
    "absorb_pads",
    "fuse_gemm",
    "accelerate",
    "lower",
    "share_constants",
    "simplify",
    "clean",
    "account",
)
