"""Sentences of the journal: as they are told of one node, and what is the same for all nodes of which they are true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["Words", "general", "joined", "naming_node", "naming_value", "say"]


class Words(str):
    """A sentence that names nodes, values or figures.

    Attributes:
        general: the same sentence without these, by which records that differ in them alone are put together.
    """

    __slots__ = ("general",)
    general: str

    def __new__(cls, text: str, general: str) -> Words:
        words = super().__new__(cls, text)
        words.general = general
        return words

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.general


def general(text: str) -> str:
    """Return the sentence without what it names, where it is known what that is."""
    return text.general if isinstance(text, Words) else text


def say(template: str, *parts: str) -> Words:
    """Put the parts into the template, in its `{}`; the sentence names what they name."""
    return Words(template.format(*parts), template.format(*map(general, parts)))


def joined(separator: str, parts: Iterable[str]) -> Words:
    """Join the parts; the sentence names what they name, and in general says once what several of them say."""
    listed = list(parts)
    return Words(separator.join(listed), separator.join(dict.fromkeys(map(general, listed))))


class _Node(Protocol):
    """A node of a graph or of a message."""

    @property
    def op_type(self) -> str: ...

    @property
    def name(self) -> str | None: ...


class _Value(Protocol):
    @property
    def name(self) -> str | None: ...


def naming_node(node: _Node) -> Words:
    """Name a node by its operator and its name; in general it is one of that operator."""
    return Words(f"{node.op_type} {node.name!r}", node.op_type)


def naming_value(value: _Value) -> Words:
    """Name a value; in general it is some value."""
    return Words(repr(value.name), "a value")
