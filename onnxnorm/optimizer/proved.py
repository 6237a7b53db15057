"""Makes a result that failed its proof again, without the rewrite that is to blame, or else without its pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from onnxnorm.optimizer.guard import is_debugging, leaving_out_failed_passes
from onnxnorm.passes import PASSES

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnorm.journal import Rewrite
    from onnxnorm.verification.place import Place
    from onnxnorm.verification.report import VerifyReport

__all__ = ["without_disproved"]

_T = TypeVar("_T")
# Passes that do one thing in several steps are left out together.
_TOGETHER = (
    frozenset({"fold_affines_nearby", "fold_affines", "fold_affines_again"}),
    frozenset({"merge_convolutions", "merge_products"}),
)
_MOST_PLACES = 4
"""Number of places in one model after which rewrites are no longer left out one by one."""
_MOST_REWRITES = 3
"""Number of rewrites at one place that are tried one by one before all are left out."""
_REPORT_IT = "please report it together with the model"


@dataclass(frozen=True)
class _Attempts(Generic[_T]):
    """The means to make the result again.

    Attributes:
        run: runs the passes of these names, with the nodes kept that make these values.
        prove: compares the result with the original.
        rewrites_of: what was rewritten in a result.
        original: loads the original.
    """

    run: Callable[[Sequence[str], Collection[str]], _T]
    prove: Callable[[_T], VerifyReport]
    rewrites_of: Callable[[_T], Iterable[Rewrite]]
    original: Callable[[], ir.Model]

    def again(self, names: Sequence[str], kept: Collection[str]) -> tuple[_T, tuple[str, ...], VerifyReport]:
        done, notes = leaving_out_failed_passes(lambda names: self.run(names, kept), names)
        return done, notes, self.prove(done)


def without_disproved(
    run: Callable[[Sequence[str], Collection[str]], _T],
    prove: Callable[[_T], VerifyReport] | None,
    rewrites_of: Callable[[_T], Iterable[Rewrite]],
    names: Sequence[str],
    original: Callable[[], ir.Model],
) -> tuple[_T, VerifyReport | None, tuple[str, ...]]:
    """Run passes and prove the result; where that fails, leave out the rewrite, or the pass, that is to blame.

    Args:
        run: runs the passes of these names, on a model that is as it was each time, with the nodes kept as they are
            that make the values of the second argument; a pass that breaks off is left out.
        prove: compares the result with the original; None leaves it unproved.
        rewrites_of: what was rewritten in a result.
        names: the passes.
        original: loads the original.

    Returns:
        The result, its report, if it was proved, and a sentence for each rewrite or pass that was left out. Where no
        rewrite and no pass alone is to blame these are the first result and its report, which has failed.
    """
    done, notes = leaving_out_failed_passes(lambda names: run(names, ()), names)
    report = None if prove is None else prove(done)
    if prove is None or report is None or report.passed or is_debugging():
        return done, report, notes
    attempts = _Attempts(run, prove, rewrites_of, original)
    report = _with_rewrites(report, rewrites_of(done), attempts)
    better = _without_rewrites(attempts, names, done, report) or _without_passes(attempts, names, done, report)
    return better or (done, report, notes)


def _with_rewrites(report: VerifyReport, rewrites: Iterable[Rewrite], attempts: _Attempts[_T]) -> VerifyReport:
    """Return the report with what was rewritten at the place where the result goes wrong."""
    if report.place is None:
        return report
    nodes = set(_nodes_at(report.place, attempts.original()))
    there = tuple(rewrite for rewrite in rewrites if rewrite.node in nodes)
    return replace(report, place=replace(report.place, rewrites=there))


def _nodes_at(place: Place, model: ir.Model) -> dict[str, tuple[str, ...]]:
    """Return the names of the original's nodes at the place, each with the values that it makes."""
    wanted = set(place.nodes)
    found = {}
    for node in model.graph:
        made = tuple(value.name for value in node.outputs if value.name)
        if wanted.intersection(made):
            found[node.name or ""] = made
    return found


def _without_rewrites(
    attempts: _Attempts[_T], names: Sequence[str], done: _T, report: VerifyReport
) -> tuple[_T, VerifyReport, tuple[str, ...]] | None:
    """Leave the nodes as they were where the result goes wrong; None where that does not help."""
    kept: frozenset[str] = frozenset()
    told: list[str] = []
    for _ in range(_MOST_PLACES):
        if report.place is None or kept.issuperset(report.place.nodes):
            return None
        for values, what in _choices(report.place, attempts.original()):
            other, failed, proof = attempts.again(names, kept | values)
            if proof.passed:
                note = f"{what} failed verification ({report}) and was left out; {_REPORT_IT}"
                return other, proof, (*failed, *told, note)
        kept |= values
        told.append(f"{what} failed verification and was left out; {_REPORT_IT}")
        report = _with_rewrites(proof, attempts.rewrites_of(other), attempts)
    return None


def _choices(place: Place, model: ir.Model) -> Iterator[tuple[frozenset[str], str]]:
    """Yield what could be left out at a place, as the values whose nodes stay and in words: the least first."""
    nodes = _nodes_at(place, model)
    rewritten = {rewrite.node: rewrite for rewrite in place.rewrites if rewrite.node in nodes}
    if len(rewritten) < len(nodes):
        for name, rewrite in list(rewritten.items())[:_MOST_REWRITES]:
            yield frozenset(nodes[name]), f"what {rewrite.pass_name!r} did to node {name!r} ({rewrite.detail})"
    passes = " and ".join(repr(each) for each in dict.fromkeys(rewrite.pass_name for rewrite in place.rewrites))
    what = f"what {passes} did" if passes else "what was done"
    yield frozenset(place.nodes), f"{what} at {', '.join(map(repr, nodes))}"


def _without_passes(
    attempts: _Attempts[_T], names: Sequence[str], done: _T, report: VerifyReport
) -> tuple[_T, VerifyReport, tuple[str, ...]] | None:
    """Leave out the one pass without which the result is proved; None where there is none."""
    # Passes of the caller do not write down all that they do.
    rewrote = {rewrite.pass_name for rewrite in attempts.rewrites_of(done)}
    rewrote |= {name for name in names if name not in PASSES}
    tried: set[frozenset[str]] = set()
    for name in reversed([name for name in dict.fromkeys(names) if name in rewrote]):
        left_out = next((group for group in _TOGETHER if name in group), frozenset({name}))
        rest = tuple(each for each in names if each not in left_out)
        if left_out in tried or not rest:
            continue
        tried.add(left_out)
        other, failed, proof = attempts.again(rest, ())
        if proof.passed:
            blamed = " and ".join(repr(each) for each in dict.fromkeys(names) if each in left_out)
            note = f"what {blamed} did failed verification ({report}) and was left out; {_REPORT_IT}"
            return other, proof, (*failed, note)
    return None
