"""Makes a result that failed its proof again, without the passes that are to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from onnxnorm.optimizer.guard import is_debugging, leaving_out_failed_passes
from onnxnorm.passes import PASSES

if TYPE_CHECKING:
    from onnxnorm.journal import Rewrite
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["without_disproved_passes"]

_T = TypeVar("_T")
# Passes that do one thing in several steps are left out together.
_TOGETHER = (
    frozenset({"fold_affines_nearby", "fold_affines", "fold_affines_again"}),
    frozenset({"merge_convolutions", "merge_products"}),
)


def without_disproved_passes(
    run: Callable[[Sequence[str]], _T],
    prove: Callable[[_T], VerifyReport] | None,
    rewrites_of: Callable[[_T], Iterable[Rewrite]],
    names: Sequence[str],
) -> tuple[_T, VerifyReport | None, tuple[str, ...]]:
    """Run passes and prove the result; where that fails, find the pass without which it is proved.

    Args:
        run: runs the passes of these names, on a model that is as it was each time; one that breaks off is left out.
        prove: compares the result with the original; None leaves it unproved.
        rewrites_of: what was rewritten in a result.
        names: the passes.

    Returns:
        The result, its report, if it was proved, and a sentence for each that was left out. Where no pass alone is to
        blame these are the first result and its report, which has failed.
    """
    done, notes = leaving_out_failed_passes(run, names)
    report = None if prove is None else prove(done)
    if prove is None or report is None or report.passed or is_debugging():
        return done, report, notes
    # Passes of the caller do not write down all that they do.
    rewrote = {rewrite.pass_name for rewrite in rewrites_of(done)} | {each for each in names if each not in PASSES}
    tried: set[frozenset[str]] = set()
    for name in reversed([name for name in dict.fromkeys(names) if name in rewrote]):
        left_out = next((group for group in _TOGETHER if name in group), frozenset({name}))
        rest = tuple(each for each in names if each not in left_out)
        if left_out in tried or not rest:
            continue
        tried.add(left_out)
        other, failed = leaving_out_failed_passes(run, rest)
        proof = prove(other)
        if proof.passed:
            blamed = " and ".join(repr(each) for each in dict.fromkeys(names) if each in left_out)
            note = (
                f"what {blamed} did failed verification ({report}) and was left out; please report it together with "
                "the model"
            )
            return other, proof, (*failed, note)
    return done, report, notes
