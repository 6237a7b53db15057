"""Holds `report_page`: a page that shows what was done to a model, from an account of it."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.io.load_and_save import load
from onnxnorm.io.replace import write_message
from onnxnorm.model.source import ModelLike, model_of, name_of
from onnxnorm.optimizer.account import account
from onnxnorm.optimizer.records import Fate, NormRecord
from onnxnorm.optimizer.result import OptimizeResult
from onnxnorm.process.gc_pause import collector_paused
from onnxnorm.report.data import Subject, data_of
from onnxnorm.report.html import html_of
from onnxnorm.report.node_data import node_data_of
from onnxnorm.report.summary import summary_of
from onnxnorm.validate.arguments import check_path

if TYPE_CHECKING:
    from onnxnorm.verification.layers import LayerError
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["ReportPage", "compared_page", "report_page"]


@dataclass(frozen=True)
class ReportPage:
    """A page about one model and what became of it; a notebook shows it in place.

    Attributes:
        data: the facts, in types that JSON has.
        node_data: the fates for each node of the original, as overlays of Model Explorer have them.
    """

    data: Mapping[str, Any]
    node_data: Mapping[str, Any]

    @cached_property
    def html(self) -> str:
        """The page: one HTML file that loads nothing."""
        return html_of(dict(self.data), f"onnxnorm report: {self.data['before']}")

    @property
    def summary(self) -> str:
        """The facts in plain text."""
        return summary_of(self.data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to `path`, or leave what is there untouched.

        Raises:
            OnnxNormError: the folder is missing or cannot be written to, or the disk is full.
        """
        check_path("path", path)
        write_message(self.html.encode("utf-8"), path)

    def save_node_data(self, path: str | os.PathLike[str]) -> None:
        """Write the fates of the nodes to `path`, to be loaded into Model Explorer beside the original."""
        write_message(json.dumps(self.node_data, indent=1).encode("utf-8"), path)

    def _repr_html_(self) -> str:
        # The frame has no rights but to run the page's own script.
        page = html.escape(self.html, quote=True)
        return f'<iframe sandbox="allow-scripts" width="100%" height="900" style="border:0" srcdoc="{page}"></iframe>'


@collector_paused
def report_page(
    original: ModelLike,
    result: OptimizeResult,
    *,
    records: Sequence[NormRecord] | None = None,
    name: str | None = None,
    verification: VerifyReport | None = None,
    layers: Sequence[LayerError] = (),
    latency: tuple[float, float] | None = None,
) -> ReportPage:
    """Make the page of an optimization.

    Args:
        original: the model that was optimized, as it was; never changed.
        result: what `optimize` returned for it.
        records: what `inspect` tells of its normalizations; by default what the result says of them.
        name: what the page calls the model.
        verification: what `verify` said of the two.
        layers: errors along the depth.
        latency: milliseconds of a run, before and after.

    Raises:
        OnnxNormError: the original cannot be read.
    """
    before = load(original)
    subject = Subject(
        name=name or _short(original),
        name_after="",
        before=_with_shapes(before),
        after=_as_result(result.ir_model),
        records=result.normalizations if records is None else records,
        rewrites=result.rewrites,
        notes=result.notes,
        verification=verification,
        layers=layers,
        latency=latency,
    )
    return _page(subject)


@collector_paused
def compared_page(
    original: ModelLike,
    other: ModelLike,
    *,
    verification: VerifyReport | None = None,
    layers: Sequence[LayerError] = (),
    latency: tuple[float, float] | None = None,
) -> ReportPage:
    """Make the page of two models of which nobody knows how the one became the other.

    Raises:
        OnnxNormError: a model cannot be read.
    """
    after = load(other)
    _, records = account(load(original), lambda _: OptimizeResult((), (), after, True))
    told = {Fate.ABSORBED: "is not in the second model", Fate.LEFT: "is in the second model too"}
    told[Fate.NEW] = "is in the second model alone"
    return _page(
        Subject(
            name=_short(original),
            name_after=_short(other),
            before=_with_shapes(load(original)),
            after=_with_shapes(load(other)),
            records=[replace(record, reason=told.get(record.fate, record.reason)) for record in records],
            verification=verification,
            layers=layers,
            latency=latency,
        )
    )


def _page(subject: Subject) -> ReportPage:
    return ReportPage(data_of(subject), node_data_of(subject.before, subject.records))


def _short(model: ModelLike) -> str:
    """Return the name of a model; that of a file without its folders, which are nobody's business."""
    plain = model_of(model)
    return Path(plain).name if isinstance(plain, (str, os.PathLike)) else name_of(plain)


def _as_result(model: ir.Model) -> ir.Model:
    """Return a result with its shapes; a pass has inferred them as a rule, and the result itself is not changed."""
    known = all(value.shape is not None for node in model.graph for value in node.outputs if value.name)
    return model if known else _with_shapes(model.clone())


def _with_shapes(model: ir.Model) -> ir.Model:
    infer_shapes(model)
    return model
