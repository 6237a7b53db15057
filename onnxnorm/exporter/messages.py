"""Keeps quiet what PyTorch's exporters say while they work, or makes a reason of it."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator

__all__ = ["OTHER_EXPORTER", "SCOPES", "quiet", "reason_of"]

OTHER_EXPORTER = '--exporter torchscript (exporter="torchscript")'
"""The other of PyTorch's exporters, as the command line and Python ask for it."""


SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note on a node: "['', 'layer1', 'layer1.0', 'relu']", modules from the root, then the operator."""


def reason_of(error: BaseException) -> str:
    """Return the innermost cause, its first paragraph in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    paragraph = re.split(r"\n\s*\n", str(error).strip())[0]
    return (" ".join(paragraph.split()) or type(error).__name__)[:600]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' prints, logs and deprecations to themselves; what concerns the user is raised or warned."""
    disabled = logging.root.manager.disable
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)
