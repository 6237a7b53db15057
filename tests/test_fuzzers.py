"""The short forms of the commands in fuzz/ that have no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.altered import difference, network
from fuzz.kill import leftovers
from fuzz.kill import run_rounds as kill_rounds
from fuzz.native import case
from onnxnorm.ops.operators import OPERATORS
from onnxnorm.runtime.library import find_library

ROOT = Path(__file__).resolve().parent.parent
needs_library = pytest.mark.skipif(find_library() is None, reason="needs the native library")


def last_line(name: str, *arguments: str) -> str:
    process = subprocess.run([sys.executable, "-m", "fuzz", name, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.splitlines()[-1]


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_altered_networks_compute_the_same_once_optimized(start: int) -> None:
    outcomes = {seed: difference(network(seed), seed) for seed in range(start, start + 50)}
    assert not {seed: found for seed, found in outcomes.items() if found}
    assert sum(found is not None for found in outcomes.values()) >= 5


def test_every_operator_of_the_standard_is_optimized_or_refused() -> None:
    line = last_line("operators", "--minutes", "0.2", "--jobs", "1")
    tried, optimized = int(line.split()[0]), int(line.split()[3])
    assert 20 < optimized < tried and line.endswith("; 0 findings"), line


@needs_library
def test_no_node_ends_the_process() -> None:
    line = last_line("native", "--cases", "600")
    ran = int(line.split()[2])
    assert 30 < ran < 500 and line.endswith("; 0 ended the process"), line


def test_hostile_nodes_come_in_all_kinds() -> None:
    nodes = [case(number)[0].graph.node[0] for number in range(2400)]
    assert {node.op_type for node in nodes} == set(OPERATORS)
    windows = [
        attribute for node in nodes for attribute in node.attribute if attribute.name in ("size", "kernel_shape")
    ]
    assert len({attribute.type for attribute in windows}) >= 6
    numbers = {number for attribute in windows for number in (attribute.i, *attribute.ints)}
    assert {0, -1, 2**31, 2**62} <= numbers
    assert any(not node.input for node in nodes) and any(not node.output for node in nodes)


@needs_library
def test_sessions_live_and_die_in_threads_and_children_without_a_leak() -> None:
    line = last_line("sessions", "--rounds", "500")
    assert "5 in forked and 1 in spawned processes: 0 failed" in line


def test_a_killed_command_leaves_the_old_result_or_the_new_one(tmp_path: Path) -> None:
    counts = kill_rounds(10, 3, tmp_path)
    assert counts["failed"] == 0
    assert sum(counts.values()) == 10 and counts["finished"] < 10
    assert not leftovers(tmp_path)[1]
