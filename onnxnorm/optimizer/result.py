"""Holds the result of `optimize`: the new model, and the account of what was done to it and what was left."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, cast

import onnx
import onnx_ir as ir
from typing_extensions import TypeVar

from onnxnorm.display import data_frame, html_table, plain
from onnxnorm.errors import OnnxNormError
from onnxnorm.io import load_and_save
from onnxnorm.io.replace import write_message
from onnxnorm.journal import Decline, Rewrite
from onnxnorm.optimizer.original import Original
from onnxnorm.optimizer.records import Account, Fate, NormRecord
from onnxnorm.validate.arguments import check_path

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]

    from onnxnorm.model.source import ModelLike
    from onnxnorm.report.page import ReportPage
    from onnxnorm.verification.report import VerifyReport

__all__ = ["OptimizeResult"]

_Form = TypeVar("_Form", bound="onnx.ModelProto | ir.Model", default="onnx.ModelProto | ir.Model", covariant=True)


@dataclass(frozen=True, repr=False)
class OptimizeResult(Generic[_Form]):
    """The transformed model and the account of it; the model is of the form that came in.

    A result may be given wherever a model may: to `verify`, `session`, `inspect` and `optimize`.

    Attributes:
        rewrites: what was done, in order.
        declined: every normalization that is left, with its reason.
        notes: what was decided for the caller, a sentence each.
        normalizations: what became of each normalization, as `onnxnorm.inspect` tells it.
        copies: the names of nodes that stand in the place of calls, by their names in the function.
        report: the report of the verification; None where there was none.
    """

    rewrites: tuple[Rewrite, ...]
    declined: tuple[Decline, ...]
    _result: onnx.ModelProto | ir.Model
    _as_ir: bool
    notes: tuple[str, ...] = ()
    normalizations: tuple[NormRecord, ...] = ()
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    report: VerifyReport | None = None
    _source: Original | None = None

    @property
    def account(self) -> Account:
        """The sum of the normalizations: how many there were, how many there are, and how many had each fate."""
        return Account.of(self.normalizations)

    @cached_property
    def model(self) -> _Form:
        """The result: an `onnx_ir.Model` if that came in, a `ModelProto` otherwise.

        Raises:
            OnnxNormError: the result is too large for one `ModelProto` (2 GB); `save` writes it all the same.
        """
        return cast(_Form, self._result if self._as_ir else load_and_save.to_proto(self._result))

    @cached_property
    def ir_model(self) -> ir.Model:
        """The result as an `onnx_ir.Model`."""
        return self._result if isinstance(self._result, ir.Model) else load_and_save.load(self._result)

    @property
    def held(self) -> onnx.ModelProto | ir.Model:
        """The result in the form in which it was made, which may be another than came in, and takes no conversion."""
        return self._result

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        external_data: bool | None = None,
        shard_size: int | None = None,
        share_data: bool = False,
        safetensors: bool = False,
    ) -> None:
        """Write the whole result to `path`, or leave what is there untouched.

        Args:
            path: the file to write; it may be the one that the original was read from.
            external_data: weights in a second file, `path` with `.data` behind; by default where they exceed 2 GB.
            shard_size: weights in several files of at most that many bytes.
            share_data: weights that are as they were stay in the data files of the original, beside which `path` lies.
            safetensors: weights in a second file, or in several, of that format: `path` with `.safetensors` behind.

        Raises:
            OnnxNormError: the folder is missing or cannot be written to, or the disk is full.
        """
        check_path("path", path)
        where = external_data or shard_size is not None or share_data or safetensors
        if isinstance(self._result, onnx.ModelProto) and not where:
            # Of a plain network, which is small and has everything in it.
            write_message(self._result.SerializeToString(), path)
            return
        load_and_save.save(
            self._result,
            path,
            external_data=external_data,
            shard_size=shard_size,
            share_data=share_data,
            safetensors=safetensors,
        )

    def report_page(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        original: ModelLike | None = None,
        layers: bool = False,
    ) -> ReportPage:
        """Make a page of what was done: one HTML file, which a notebook shows in place.

        Args:
            path: the file to write; none where None.
            original: the model as it was before; by default the one that was given to `optimize`.
            layers: measure the error value by value along the depth, too, which runs both models again.

        Raises:
            OnnxNormError: the original has changed since, or cannot be read, or the page cannot be written; or the
                values inside the models cannot be taken.
        """
        from onnxnorm.report.page import report_page
        from onnxnorm.verification.layers import errors_by_layer

        if original is None:
            if self._source is None:
                raise OnnxNormError("this result does not know what it was made of: give the original")
            original = self._source.unchanged()
        measured = errors_by_layer(original, self) if layers else ()
        page = report_page(original, self, verification=self.report, layers=measured)
        if path is not None:
            page.save(path)
        return page

    def to_dict(self) -> dict[str, Any]:
        """Return the account, without the model, in types that JSON has."""
        return {
            "nodes": self._node_count(),
            "rewrites": plain(self.rewrites),
            "declined": plain(self.declined),
            "normalizations": plain(self.normalizations),
            "account": plain(self.account),
            "notes": list(self.notes),
            "report": None if self.report is None else self.report.to_dict(),
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame of pandas with a row for each rewrite, then one for each normalization that is left.

        Its columns are `outcome` ("rewritten" or "left"), `node`, `op_type`, `pass_name` (None where left) and
        `reason`: how the node was changed, or why it is left.

        Raises:
            OnnxNormError: pandas is not installed.
        """
        done = [("rewritten", each.node, each.op_type, each.pass_name, each.detail) for each in self.rewrites]
        left = [("left", each.node, each.op_type, None, each.reason) for each in self.declined]
        return data_frame(("outcome", "node", "op_type", "pass_name", "reason"), [*done, *left])

    def __repr__(self) -> str:
        return f"<OptimizeResult: {self._headline()}>"

    def _repr_html_(self) -> str:
        """Return the account as tables, as notebooks show it."""
        parts = [f"<p><b>{html.escape(self._headline())}</b></p>"]
        if self.rewrites:
            done = _groups((each.pass_name, each.op_type, each.node, each.detail) for each in self.rewrites)
            parts.append(html_table(("pass", "operator", "nodes", "first node", "what was done"), done))
        if self.declined:
            left = _groups((each.reason, each.op_type, each.node) for each in self.declined)
            rows = [(op_type, count, first, reason) for reason, op_type, count, first in left]
            parts.append(html_table(("left", "nodes", "first node", "reason"), rows))
        parts += [f"<p>note: {html.escape(note)}</p>" for note in self.notes]
        return "\n".join(parts)

    def _node_count(self) -> int:
        return len(self._result.graph.node) if isinstance(self._result, onnx.ModelProto) else len(self._result.graph)

    def _headline(self) -> str:
        counts = [
            (self._node_count(), "node", "nodes"),
            (len(self.rewrites), "rewrite", "rewrites"),
            (len(self.declined), "normalization left", "normalizations left"),
        ]
        if partly := self.account.fates.get(Fate.PARTLY):
            counts.append((partly, "partly absorbed", "partly absorbed"))
        if self.notes:
            counts.append((len(self.notes), "note", "notes"))
        return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts)


def _groups(rows: Iterable[tuple[str, ...]]) -> list[tuple[object, ...]]:
    """Put rows together that begin with the same two texts: these, the number of rows, and the rest of the first."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        groups.setdefault(row[:2], []).append(row)
    return [(*key, len(found), *found[0][2:]) for key, found in groups.items()]
