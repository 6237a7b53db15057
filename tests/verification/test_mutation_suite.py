"""A short form of `python -m fuzz mutations`: mistakes in optimized networks are caught, and shown where they are."""

from __future__ import annotations

from fuzz.mutations import Counts, try_network


def test_mistakes_are_caught_at_their_nodes_and_right_results_pass() -> None:
    counts = Counts()
    for seed in range(3):
        try_network(seed, counts)
    assert counts.right == 3 and not counts.alarms, counts
    assert not counts.missed, counts
    assert sum(counts.caught.values()) >= 12 and len(counts.caught) >= 7, counts
    assert sum(counts.at_node.values()) + sum(counts.in_piece.values()) == sum(counts.caught.values()), counts
