"""Profiles models in onnxruntime: the time of each node as the runtime runs it, its multiply-adds and its bytes.

The nodes are those of the graph that onnxruntime makes of the model. Times come from its own profiler. Weights that a
kernel has packed for itself are missing there, so that shapes and bytes come from one more run without packing.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxnorm.errors import OnnxNormError
from onnxnorm.files.folders import temporary_folder
from onnxnorm.graph.multiply_adds import multiply_adds
from onnxnorm.runtime.session import session
from onnxnorm.runtime.turns import by_turns, first_accepted

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

    from onnxnorm.runtime.inputs import Feeds

__all__ = ["NodeProfile", "Profile", "profiled", "trace"]

_KERNEL = "_kernel_time"
_UNPACKED = "session.disable_prepacking"

Event = dict[str, Any]


@dataclass(frozen=True)
class NodeProfile:
    """The costs of one node in a run.

    Attributes:
        node, operator: its name and operator in the graph of the runtime.
        calls: how often it ran; more than once inside a loop.
        ms: milliseconds, the median of the runs, without those of nodes inside it.
        multiply_adds: how often it multiplies and adds; None where its shapes do not say it.
        bytes: of all that it reads and writes, weights included.
    """

    node: str
    operator: str
    calls: int
    ms: float
    multiply_adds: int | None
    bytes: int


@dataclass(frozen=True)
class Profile:
    """The costs of a model in a run.

    Attributes:
        nodes: in the order in which they ran first.
        ms: milliseconds of a whole run under the profiler, the median of the runs.
        runs: how many were measured.
        events: all that the profiler wrote down, in the format of Chrome's traces.
    """

    nodes: tuple[NodeProfile, ...]
    ms: float
    runs: int
    events: tuple[Event, ...]

    @property
    def multiply_adds(self) -> int:
        """The sum over the nodes of which it is known."""
        return sum(node.multiply_adds or 0 for node in self.nodes)

    @property
    def bytes(self) -> int:
        """The sum over the nodes."""
        return sum(node.bytes for node in self.nodes)


def profiled(
    models: Sequence[str],
    candidates: Iterable[Feeds],
    repeat: int,
    *,
    make_options: Callable[[], onnxruntime.SessionOptions],
    portable: bool | None = None,
    providers: list[Any] | None = None,
) -> tuple[Profile, ...]:
    """Profile models by turns, on the first inputs that all of them accept.

    Args:
        models: the paths.
        candidates: ways to fill the inputs.
        repeat: how many runs are measured, after one that warms up.
        make_options: makes the options of each session, with libraries of custom operators and threads.
        portable, providers: as `onnxnorm.session` takes them.

    Raises:
        OnnxNormError: onnxruntime refuses a model.
        RunError: they accept none of the inputs.
    """

    def opened(path: str, prefix: Path, *, packed: bool) -> onnxruntime.InferenceSession:
        options = make_options()
        options.enable_profiling, options.profile_file_prefix = True, str(prefix)
        if not packed:
            options.add_session_config_entry(_UNPACKED, "1")
        return session(path, portable=portable, sess_options=options, providers=providers)

    with temporary_folder() as folder:
        timed = [opened(path, folder / f"timed{place}", packed=True) for place, path in enumerate(models)]
        feeds = first_accepted(list(zip(models, timed, strict=True)), candidates).feeds
        for place in by_turns(len(timed), repeat):
            timed[place].run(None, feeds)
        events = [_read(each.end_profiling()) for each in timed]
        shapes = []
        for place, path in enumerate(models):
            plain = opened(path, folder / f"plain{place}", packed=False)
            plain.run(None, feeds)
            shapes.append(_read(plain.end_profiling()))
    return tuple(_profile(*each, repeat) for each in zip(events, shapes, strict=True))


def _read(path: str) -> tuple[Event, ...]:
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        return tuple(event for event in json.loads(text) if event)
    except json.JSONDecodeError as error:
        raise OnnxNormError(f"the profile that onnxruntime wrote cannot be read: {error}") from error


def _profile(events: tuple[Event, ...], shapes: tuple[Event, ...], repeat: int) -> Profile:
    runs = [(event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "model_run"][-repeat:]
    # The runs that failed and the one that warms up stand before those.
    per_run = [list(_own_times(_kernels(events, *run))) for run in runs]
    costs = {_key(event): _costs(event) for event in _kernels(shapes, 0, float("inf"))}
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * len(runs))
    for number, own in enumerate(per_run):
        for event, spent in own:
            times[_name(event)][number] += spent / 1000
    found: dict[tuple[str, str], NodeProfile] = {}
    for event, _ in per_run[-1]:
        name = _name(event)
        before = found.get(name)
        adds, size = costs.get(_key(event)) or _costs(event)
        if before is not None:
            adds = None if adds is None or before.multiply_adds is None else adds + before.multiply_adds
            size += before.bytes
        calls = 1 if before is None else before.calls + 1
        found[name] = NodeProfile(*name, calls, statistics.median(times[name]), adds, size)
    return Profile(tuple(found.values()), statistics.median(end - start for start, end in runs) / 1000, repeat, events)


def _kernels(events: Iterable[Event], start: float, end: float) -> list[Event]:
    """Return the events of kernels within a time, by their beginnings, those around others first."""
    inside = (
        event
        for event in events
        if event["cat"] == "Node" and event["name"].endswith(_KERNEL) and start <= event["ts"] <= end
    )
    return sorted(inside, key=lambda event: (event["ts"], -event["dur"]))


def _own_times(kernels: Iterable[Event]) -> Iterator[tuple[Event, float]]:
    """Yield each event with its microseconds, less those of the events inside it."""
    own: list[list[Any]] = []
    around: list[list[Any]] = []
    for event in kernels:
        while around and around[-1][0]["ts"] + around[-1][0]["dur"] <= event["ts"]:
            around.pop()
        entry = [event, float(event["dur"])]
        if around:
            around[-1][1] -= event["dur"]
        own.append(entry)
        if event["args"].get("op_name") in _AROUND_OTHERS:
            around.append(entry)
    for event, spent in own:
        yield event, max(spent, 0.0)


_AROUND_OTHERS = frozenset(["If", "Loop", "Scan", "SequenceMap"])


def _name(event: Event) -> tuple[str, str]:
    return event["name"].removesuffix(_KERNEL), event["args"].get("op_name", "")


def _key(event: Event) -> tuple[object, ...]:
    """Return what tells the same node in two sessions: those without a name of their own are numbered at random."""
    return (*_name(event), str(event["args"].get("output_type_shape")), event["args"].get("activation_size"))


def _costs(event: Event) -> tuple[int | None, int]:
    """Return the multiply-adds and the bytes of one event."""
    told = event["args"]
    size = sum(int(told.get(name, 0)) for name in ("activation_size", "parameter_size", "output_size"))
    inputs, outputs = ([_shape(each) for each in told.get(name, ())] for name in _SHAPES)
    return multiply_adds(told.get("op_name", ""), inputs, outputs), size


_SHAPES = ("input_type_shape", "output_type_shape")


def _shape(told: dict[str, list[int]]) -> list[int]:
    return next(iter(told.values()), [])


def trace(profiles: Iterable[tuple[str, Profile]]) -> dict[str, Any]:
    """Return profiles as one document in the format of Chrome's traces, each as a process of its own with its name."""
    events: list[Event] = []
    for number, (name, profile) in enumerate(profiles, 1):
        events.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}})
        events += [{**event, "pid": number} for event in profile.events]
    return {"traceEvents": events, "displayTimeUnit": "ms"}
