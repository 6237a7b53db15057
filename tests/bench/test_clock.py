"""The clock and the table printer of the benches, on calls whose durations are made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import clock, tables


class Time:
    """A clock that moves only when a call takes its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def call(self, name: str, *durations: float) -> Callable[[], None]:
        """Return a call that takes these durations in turn, the last one for ever after."""
        left = list(durations)

        def run() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(clock.time, "sleep", lambda _: None)
    return made


def test_medians_are_of_rounds_in_which_all_run_once_after_one_that_is_not_measured(time: Time) -> None:
    calls = [time.call("a", 100.0, 1.0), time.call("b", 100.0, 5.0, 2.0, 9.0, 3.0)]
    assert clock.medians(calls, 20.0) == [1.0, 3.0]
    rounds = [set(time.order[index : index + 2]) for index in range(0, len(time.order), 2)]
    assert len(rounds) >= 1 + 6 and all(each == {"a", "b"} for each in rounds)
    assert {tuple(time.order[index : index + 2]) for index in range(0, len(time.order), 2)} == {("a", "b"), ("b", "a")}


def test_the_fastest_call_counts_and_a_slow_one_has_one_turn(time: Time) -> None:
    calls = {"quick": time.call("quick", 1.0, 0.01, 0.004, 0.01), "slow": time.call("slow", 0.2, 0.3, 0.1)}
    assert clock.fastest(calls) == {"quick": pytest.approx(0.004), "slow": pytest.approx(0.1)}
    assert time.order.count("slow") == 3 and time.order[-1] == "quick"


def test_rows_are_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_head("a", "b")
    tables.print_row(1, "x|y")
    assert capsys.readouterr().out == "| a | b |\n|---|---|\n| 1 | x/y |\n"
