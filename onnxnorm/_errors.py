"""The errors and warnings that are the user's to mend."""

from __future__ import annotations

__all__ = ["OnnxNormError", "OnnxNormWarning"]


class OnnxNormError(Exception):
    """The one base of every error that the user can mend: it names the file or node and says what to do."""


class OnnxNormWarning(UserWarning):
    """Something works, though not the way the user may expect; the message says what to do about it."""
