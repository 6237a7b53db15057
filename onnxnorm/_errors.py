"""The errors and warnings that are the user's to mend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["OnnxNormError", "OnnxNormWarning", "naming"]


class OnnxNormError(Exception):
    """The one base of every error that the user can mend: it names the file or node and says what to do."""


class OnnxNormWarning(UserWarning):
    """Something works, though not the way the user may expect; the message says what to do about it."""


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Errors say which model they are about."""
    try:
        yield
    except OnnxNormError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error
