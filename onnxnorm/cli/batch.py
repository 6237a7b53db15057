"""Runs `onnxnorm optimize` for many models: a folder, a pattern or a list of files in, a folder out.

Every model is optimized by a process of its own, so that one that fails, crashes or eats all memory stops nobody. What
is done is written down in the folder `.onnxnorm` of the output, with the contents of input and output: a second run
does what is missing or has changed. The processes run here, or wherever the workers of a Dask scheduler are.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.model_paths import models_in
from onnxnorm.process.commands import Commands, Runner, finished

__all__ = ["run_batch"]

_RECORDS = ".onnxnorm"
_BLOCK = 2**22


@dataclass(frozen=True)
class Job:
    """A job of one model: where it is, where its result goes, where the account of that goes, and the options."""

    input: str
    output: str
    record: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """The outcome for a model. `status` is done, done before or failed; `code` as of the command."""

    input: str
    output: str
    status: str
    code: int
    seconds: float
    message: str
    nodes_before: int | None = None
    nodes_after: int | None = None
    size_before: int | None = None
    size_after: int | None = None


def run_batch(arguments: argparse.Namespace, options: Sequence[str]) -> int:
    """Optimize all models that `arguments.input` means into the folder `arguments.output`.

    Return the worst exit code.
    """
    jobs = _jobs(arguments.input, Path(arguments.output), tuple(options))
    try:
        for job in jobs:
            for path in (job.output, job.record):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{arguments.output}: no folder for the results can be made there ({error.strerror or error}); name one in "
            "a folder that you may write to"
        ) from error
    from onnxnorm.cli.tables import steps

    told = []
    with steps("optimizing", len(jobs), done=True) as advance:
        results = _on_cluster(jobs, arguments.scheduler) if arguments.scheduler else _here(jobs, arguments.jobs)
        with contextlib.closing(results):
            for done in results:
                told.append(done)
                advance(Path(done.input).name)
                if arguments.json:
                    print(json.dumps(asdict(done)), flush=True)
    if not arguments.json:
        _print(sorted(told, key=lambda done: done.input))
    return max((done.code for done in told), default=0)


def _jobs(inputs: Sequence[str], folder: Path, options: tuple[str, ...]) -> list[Job]:
    if not folder.is_dir() and (folder.exists() or folder.suffix == ".onnx"):
        raise UsageError(f"{inputs[0]}: many models need a folder to go to, and {folder} is none")
    found: dict[Path, Path] = {}
    for text in inputs:
        models = list(models_in(text, Path(os.path.realpath(folder))))
        if not models:
            raise UsageError(f"{text}: there is no model (*.onnx) there")
        for relative, path in models:
            if found.setdefault(relative, path) != path:
                raise UsageError(f"{found[relative]} and {path} would both become {folder / relative}")
    return [
        Job(str(path), str(folder / relative), str(folder / _RECORDS / f"{relative}.json"), options)
        for relative, path in sorted(found.items())
    ]


def _here(jobs: Sequence[Job], count: int | None) -> Generator[Done, None, None]:
    commands = Commands()
    with ThreadPoolExecutor(count or os.cpu_count() or 1) as pool:
        futures = [pool.submit(optimize_one, job, commands.run) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # What has not begun does not begin. The processes got an interrupt from the keyboard too, and no other.
            pool.shutdown(wait=False, cancel_futures=True)
            commands.end()
            raise


def _on_cluster(jobs: Sequence[Job], address: str) -> Generator[Done, None, None]:
    try:
        from dask.distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise UsageError('--scheduler needs Dask: pip install "onnxnorm[cluster]"') from error
    try:
        client = Client(address, timeout=30)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{address}: no Dask scheduler answers there ({error})") from error
    with client:
        # The paths have to mean the same to every worker: a file system that they share.
        absolute = [
            Job(_absolute(job.input), _absolute(job.output), _absolute(job.record), job.options) for job in jobs
        ]
        names = {}
        for job, full in zip(jobs, absolute, strict=True):
            # pure=False: what is done is judged by the files, not by what the scheduler remembers.
            names[client.submit(optimize_one, full, pure=False, retries=2)] = job
        for future in as_completed(names):  # type: ignore[no-untyped-call]
            job = names[future]
            if future.status == "finished":
                yield Done(**{**asdict(future.result()), "input": job.input, "output": job.output})
            else:
                yield Done(job.input, job.output, "failed", 1, 0.0, f"the cluster lost it: {future.exception()}")


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def optimize_one(job: Job, run: Runner = finished) -> Done:
    """Optimize one model in a process of its own, which `run` runs, unless that is done already."""
    start = time.monotonic()
    before = _contents(Path(job.input))
    if before is not None and _is_done(job, before):
        return Done(job.input, job.output, "done before", 0, time.monotonic() - start, "")
    command = [sys.executable, "-m", "onnxnorm", "optimize", job.input, job.output, "--summary", *job.options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = run(command, environment)
    seconds = time.monotonic() - start
    if process.returncode:
        code = process.returncode if process.returncode > 0 else 1
        return Done(job.input, job.output, "failed", code, seconds, _why_it_failed(process))
    summary: dict[str, int] = json.loads(process.stdout)
    _write_record(job, before)
    rewrites = summary.pop("rewrites")
    return Done(job.input, job.output, "done", 0, seconds, f"{rewrites} rewrites", **summary)


def _why_it_failed(process: subprocess.CompletedProcess[str]) -> str:
    """Return the error that the process told; how it ended, where it could tell none."""
    try:
        return str(json.loads(process.stdout)["error"])
    except (ValueError, LookupError, TypeError):
        return f"the process ended with {process.returncode}"


def _contents(path: Path) -> str | None:
    """Return a digest of the model and its data files.

    None where it cannot be read, which is said when it is optimized.
    """
    from onnxnorm.errors import OnnxNormError
    from onnxnorm.io.read import data_locations

    digest = hashlib.blake2b()
    try:
        for name in ("", *sorted(data_locations(path))):
            with (path.parent / name if name else path).open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    except (OSError, OnnxNormError):
        return None
    return digest.hexdigest()


def _is_done(job: Job, contents: str) -> bool:
    try:
        record = json.loads(Path(job.record).read_text())
        same = record["options"] == list(job.options) and record["version"] == _version()
        return (
            same and contents in (record["input"], record["output"]) and _contents(Path(job.output)) == record["output"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_record(job: Job, contents: str | None) -> None:
    from onnxnorm.files.new_file import NewFile

    record = {
        "input": contents,
        "output": _contents(Path(job.output)),
        "options": list(job.options),
        "version": _version(),
    }
    with NewFile(Path(job.record).parent) as file:
        file.write(json.dumps(record).encode(), 0)
        file.replace(Path(job.record))


def _version() -> str:
    from onnxnorm.runtime.doctor import own_version

    return str(own_version())


def _print(outcomes: Iterable[Done]) -> None:
    from onnxnorm.cli.tables import Table, format_size, print_table

    def change(before: int | None, after: int | None, text: Callable[[int], str]) -> str:
        return "" if before is None or after is None else f"{text(before)} -> {text(after)}"

    done = list(outcomes)
    rows = [
        (
            each.input,
            each.status,
            change(each.nodes_before, each.nodes_after, str),
            change(each.size_before, each.size_after, format_size),
            f"{each.seconds:.1f}",
            each.message,
        )
        for each in done
    ]
    print_table(Table.of("model status nodes size >seconds message", rows))
    counts = {status: sum(each.status == status for each in done) for status in ("done", "done before", "failed")}
    noun = "model" if len(done) == 1 else "models"
    print(f"\n{len(done)} {noun}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
