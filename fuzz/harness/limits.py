"""What both fuzzers run: load, optimize, save and load again, as the command line does it."""

from __future__ import annotations

import resource
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnxnorm
from onnxnorm.optimizer.optimize import optimize

__all__ = ["SECONDS", "limit_memory", "limited", "survives"]

SECONDS = 30
# Of ours, that is: noise, and what is broken unless onnxruntime optimizes it.
_NO_FAULT = ("nothing can be proved", "without which the original does not run")
_MEMORY = 6 * 2**30


class TooSlow(BaseException):
    """An input took longer than `SECONDS`; no handler of the code under test may swallow it."""


@contextmanager
def limited(seconds: int = SECONDS) -> Iterator[None]:
    """No more than that time, and no more memory than is reasonable."""

    def stop(*_: object) -> None:
        raise TooSlow(f"longer than {seconds} s")

    # Of the processor's time, since other work may keep the machine; something that only waits is found as well.
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds)}
    previous = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def limit_memory() -> None:
    """For the whole process, so that a bomb shows as MemoryError."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def survives(data: bytes, folder: Path | None = None, *, verify: bool = False) -> bool:
    """Put a file of these bytes through the toolkit, the verification too where that is asked for.

    Returns:
        whether it was optimized; False where it was refused as it should be.

    Raises:
        whatever is not an `OnnxNormError`: a finding. A result that cannot be loaded is one too.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path, output = Path(name, "in.onnx"), Path(name, "out.onnx")
        path.write_bytes(data)
        try:
            optimize(path, verify=verify).save(output)
        except onnxnorm.OnnxNormError as error:
            message = str(error)
            assert name in message, f"the error does not name the file: {message}"
            assert "please report it" not in message, message
            assert "not enough memory for the pass" not in message, message
            assert "failed verification" not in message or any(told in message for told in _NO_FAULT), message
            assert list(Path(name).iterdir()) == [path], "a failure left files behind"
            return False
        optimize(output, passes=(), verify=False)
        assert path.read_bytes() == data, "the input was changed"
        return True
