"""Both graphs as one picture: the nodes of the model before and after, matched, in one order, cut into blocks.

A node that both graphs have is one node of the picture, so that both halves can be drawn in step.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from onnxnorm.model.walk import subgraphs_of

__all__ = ["AFTER", "BEFORE", "Block", "Picture", "picture_of"]

BEFORE, AFTER = 1, 2

# How many parts a block has at most, and the whole picture.
_FAN_OUT = 40
# A picture of no more nodes is shown whole.
_WHOLE = 250
# The least number of nodes that become a block.
_SHORTEST = 4


@dataclass(frozen=True)
class Block:
    """A stretch of nodes that a large picture shows as one, with the smaller blocks that it consists of."""

    start: int
    end: int
    parts: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Picture:
    """The nodes of both graphs in an order in which data flows, and the edges between them.

    Attributes:
        before, after: for each node of the picture that of the graph, None where that graph does not have it.
        edges: from, to, and the graphs that have the edge (`BEFORE`, `AFTER` or both added up).
        blocks: the stretches that the picture is cut into.
    """

    before: tuple[ir.Node | None, ...]
    after: tuple[ir.Node | None, ...]
    edges: tuple[tuple[int, int, int], ...]
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return len(self.before)

    def node(self, index: int) -> ir.Node:
        """Return the node as the original has it, or as the result has it where only that does."""
        node = self.before[index] or self.after[index]
        assert node is not None
        return node

    def path(self, start: int, goal: int) -> tuple[int, ...]:
        """Return the nodes on a shortest way between two nodes, along edges in any direction.

        Edges of the original count first: what moved went along these.
        """
        return _shortest(start, goal, self._neighbours_before) or _shortest(start, goal, self._neighbours)

    @cached_property
    def _neighbours_before(self) -> list[list[int]]:
        return self._neighbours_in(BEFORE)

    @cached_property
    def _neighbours(self) -> list[list[int]]:
        return self._neighbours_in(BEFORE | AFTER)

    def _neighbours_in(self, sides: int) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(len(self))]
        for start, end, where in self.edges:
            if where & sides:
                found[start].append(end)
                found[end].append(start)
        return found


def _shortest(start: int, goal: int, neighbours: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the nodes on a shortest way, both ends included; none where there is no way."""
    came: dict[int, int] = {start: start}
    queue = deque([start])
    while queue and goal not in came:
        here = queue.popleft()
        for neighbour in neighbours[here]:
            if neighbour not in came:
                came[neighbour] = here
                queue.append(neighbour)
    if goal not in came:
        return ()
    way = [goal]
    while way[-1] != start:
        way.append(came[way[-1]])
    return tuple(reversed(way))


def picture_of(before: ir.Graph, after: ir.Graph, is_constant: Callable[[ir.Value], bool]) -> Picture:
    """Match the nodes of two graphs: by their names, or else by the name of their first output.

    Nodes whose results are constants are part of the weights, and left out.
    """

    def drawn_nodes(graph: ir.Graph) -> list[ir.Node]:
        return [node for node in graph if not node.outputs or not all(map(is_constant, node.outputs))]

    old, new = drawn_nodes(before), drawn_nodes(after)
    partner = _matched(old, new)
    pairs: list[tuple[ir.Node | None, ir.Node | None]] = [(node, partner.get(node)) for node in old]
    taken = set(partner.values())
    pairs += [(None, node) for node in new if node not in taken]
    index = {node: place for place, pair in enumerate(pairs) for node in pair if node is not None}
    edges: dict[tuple[int, int], int] = {}
    for side, nodes in ((BEFORE, old), (AFTER, new)):
        for node in nodes:
            for maker in _makers(node):
                if maker in index and index[maker] != index[node]:
                    pair = (index[maker], index[node])
                    edges[pair] = edges.get(pair, 0) | side
    order = _ordered(len(pairs), edges)
    place = {old_place: new_place for new_place, old_place in enumerate(order)}
    drawn = tuple(sorted((place[start], place[end], sides) for (start, end), sides in edges.items()))
    return Picture(
        tuple(pairs[each][0] for each in order),
        tuple(pairs[each][1] for each in order),
        drawn,
        _blocks(len(order), drawn),
    )


def _matched(old: Sequence[ir.Node], new: Sequence[ir.Node]) -> dict[ir.Node, ir.Node]:
    """Return for each old node the new one that stands for it, as far as there is one."""
    partner: dict[ir.Node, ir.Node] = {}
    left = list(new)
    for key in (_by_name, _by_output):
        known: dict[str, deque[ir.Node]] = {}
        for node in old:
            if node not in partner and (name := key(node)):
                known.setdefault(name, deque()).append(node)
        unmatched = []
        for node in left:
            name = key(node)
            if name and known.get(name):
                partner[known[name].popleft()] = node
            else:
                unmatched.append(node)
        left = unmatched
    return partner


def _by_name(node: ir.Node) -> str:
    return node.name or ""


def _by_output(node: ir.Node) -> str:
    return (node.outputs[0].name or "") if node.outputs else ""


def _makers(node: ir.Node) -> Iterable[ir.Node]:
    """Yield the nodes whose results a node reads, in its subgraphs too."""
    for value in node.inputs:
        if value is not None and (maker := value.producer()) is not None:
            yield maker
    for graph in subgraphs_of(node):
        for inner in graph:
            yield from _makers(inner)


def _ordered(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Sort topologically, early nodes first; where edges of both graphs run in a circle, it is cut."""
    after: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for start, end in edges:
        after[start].append(end)
        waits[end] += 1
    ready = [node for node in range(count) if not waits[node]]
    heapq.heapify(ready)
    placed = [False] * count
    order: list[int] = []
    stuck = 0
    while len(order) < count:
        if not ready:
            while placed[stuck]:
                stuck += 1
            ready.append(stuck)
        node = heapq.heappop(ready)
        if placed[node]:
            continue
        placed[node] = True
        order.append(node)
        for reader in after[node]:
            waits[reader] -= 1
            if not waits[reader] and not placed[reader]:
                heapq.heappush(ready, reader)
    return order


def _blocks(count: int, edges: Sequence[tuple[int, int, int]]) -> tuple[Block, ...]:
    """Cut the order into at most `_FAN_OUT` stretches, where few edges cross, and each of them again."""
    crossing = [0] * (count + 1)
    for start, end, _ in edges:
        crossing[min(start, end) + 1] += 1
        crossing[max(start, end) + 1] -= 1
    for place in range(1, count + 1):
        crossing[place] += crossing[place - 1]
    return _cut(0, count, crossing) if count > _WHOLE else ()


def _cut(start: int, end: int, crossing: Sequence[int]) -> tuple[Block, ...]:
    """Cut a stretch into blocks; one that is short enough is shown node by node, and has none."""
    size = end - start
    if size <= _FAN_OUT:
        return ()
    length = max(-(-size // _FAN_OUT), _SHORTEST)
    cuts = [start]
    while end - cuts[-1] > length * 3 // 2:
        goal = cuts[-1] + length
        around = range(cuts[-1] + length * 3 // 4, min(cuts[-1] + length * 5 // 4 + 1, end))
        _, _, best = min((crossing[place], abs(place - goal), place) for place in around)
        cuts.append(best)
    cuts.append(end)
    return tuple(Block(first, last, _cut(first, last, crossing)) for first, last in itertools.pairwise(cuts))
