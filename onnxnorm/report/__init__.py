"""Pages made from records: what was done to a model as one HTML file, as plain text, and as data for other viewers.

The page is data and code apart: names and texts of a model are JSON in a block that no browser executes, and the
scripts of `assets/` show them as text. `assets/dagre.min.js` is the layout library dagre 1.1.8, its licence beside it.
"""

from __future__ import annotations

from onnxnorm.report.page import ReportPage, compared_page, report_page

__all__ = ["ReportPage", "compared_page", "report_page"]
