"""The command line: parses, runs one command and turns every failure into one line and an exit code.

Exit codes: 0 done; 1 the job failed, or a verification did not pass; 2 wrong usage or bad input; 130 interrupted;
141 the reader of the output went away. Each command has a module of its own, which imports nothing heavy at its top:
`--help` has to answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn, TextIO

from onnxnorm.cli.exit_codes import JobError, UsageError
from onnxnorm.cli.interrupts import heed_no_more, heed_signals, tell_interrupted, was_interrupted
from onnxnorm.cli.lazy_imports import import_later
from onnxnorm.cli.streams import make_fit
from onnxnorm.cli.terminal import WrappedStream, width_of, wrapped
from onnxnorm.errors import OnnxNormError, RunError
from onnxnorm.validate.choices import closest

__all__ = ["entry", "main", "parsers"]

# The commands and the module of each in this package.
_COMMANDS = {
    "export": "export",
    "optimize": "optimize",
    "fold": "optimize",
    "inspect": "inspect",
    "report": "report",
    "profile": "profile",
    "verify": "verify",
    "run": "run",
    "reasons": "reasons",
    "doctor": "doctor",
    "completion": "completion",
}


_DEPENDENCIES = frozenset({"ml_dtypes", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "rich"})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        parser, known = self._asked()
        unknown = message.removeprefix("unrecognized arguments: ").split()[:1] if "unrecognized" in message else []
        if "invalid choice" in message:
            unknown = re.findall(r"invalid choice: '([^']*)'", message)
        meant = "".join(closest(word.partition("=")[0], known) or self._elsewhere(word) for word in unknown)
        raise UsageError(f"{message}{meant} (see {parser.prog} --help)")

    def _elsewhere(self, word: str) -> str:
        """Tell which other commands have such an option, if any."""
        option = word.partition("=")[0]
        having = [name for name, parser in parsers().items() if option in parser._option_string_actions]
        return f" (an option of {', '.join(having)})" if option.startswith("--") and having else ""

    def _asked(self) -> tuple[argparse.ArgumentParser, list[str]]:
        """The parser of the one command that is known, if it is one, and the words that would have been understood."""
        commands = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        known = {name: parser for action in commands for name, parser in action.choices.items()}
        if len(known) != 1:
            return self, [*known, *self._option_string_actions]
        (parser,) = known.values()
        return parser, [*parser._option_string_actions]


class _VersionAction(argparse.Action):
    """An option that looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from onnxnorm.runtime.doctor import own_version

        print(f"onnxnorm {own_version()}")
        parser.exit()


def _make_parser(names: Iterable[str]) -> argparse.ArgumentParser:
    """Make a parser that knows the commands of these names."""
    parser = _Parser(
        prog="onnxnorm",
        description="The normalization layers of neural networks on their way to deployment: export, run, fold, prove.",
    )
    parser.add_argument("--version", action=_VersionAction, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name in names:
        module = importlib.import_module(f"onnxnorm.cli.{_COMMANDS[name]}")
        text = module.DESCRIPTIONS[name]
        command = commands.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    actions = [each for each in _make_parser(_COMMANDS)._actions if isinstance(each, argparse._SubParsersAction)]
    return {name: parser for action in actions for name, parser in action.choices.items()}


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Format every warning as one line: where in the code it was raised is no news to a user."""
    _say(f"onnxnorm: warning: {_one_line(message)}")


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _say(text: str) -> None:
    width = width_of(sys.stderr)
    print(text if width is None else wrapped(text, width), file=sys.stderr)


def _asks_for_a_document(words: Sequence[str]) -> bool:
    """Whether a program reads what the command prints: `--summary` is what a batch asks of each of its processes."""
    return "--json" in words or "--summary" in words


def _fail(error: Exception, code: int, words: Sequence[str]) -> int:
    if was_interrupted():
        return tell_interrupted(document=_asks_for_a_document(words))
    _say(f"onnxnorm: error: {_one_line(error)}")
    if _asks_for_a_document(words):
        # Whoever reads the document finds why there is none of the usual kind.
        print(json.dumps({"error": _one_line(error), "exit_code": code}))
    return code


@contextlib.contextmanager
def _fitting_the_terminal(words: Sequence[str]) -> Iterator[None]:
    """Break lines between words where they go to a terminal; documents for machines are left as they are."""
    width = None if _asks_for_a_document(words) else width_of(sys.stdout)
    if width is None:
        yield
        return
    stream = WrappedStream(sys.stdout, width)
    with contextlib.redirect_stdout(stream):
        try:
            yield
        finally:
            stream.flush()


def entry() -> NoReturn:
    """Run the program: `main` for the arguments of the process, then its end."""
    make_fit()
    document = _asks_for_a_document(sys.argv[1:])
    try:
        heed_signals(document=document)
        code = _run()
        heed_no_more()
    except BaseException:
        if not was_interrupted():
            raise
        code = tell_interrupted(document=document)
    # Python would take millions of objects apart one by one; and it would end by the signal itself where an interrupt
    # came at an awkward moment, such as during an import.
    os._exit(code)


def _run() -> int:
    import_later("sympy", "onnx_ir._symbolic_shapes", "google.protobuf.json_format", "google.protobuf.text_format")
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the arguments after the program's name; those of the process where None.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        with warnings.catch_warnings(), _fitting_the_terminal(words):
            warnings.showwarning = _show_warning
            # Most of the time that a small model takes is that of imports.
            names = words[:1] if words and words[0] in _COMMANDS else _COMMANDS
            arguments = _make_parser(names).parse_args(words)
            code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except (JobError, RunError) as error:
        return _fail(error, 1, words)
    except OnnxNormError as error:
        return _fail(error, 2, words)
    except BrokenPipeError:
        # What is still buffered would raise once more when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return tell_interrupted(document=_asks_for_a_document(words))
    except MemoryError:
        return _fail(MemoryError("out of memory"), 1, words)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _DEPENDENCIES:
            raise
        return _fail(UsageError(f"{error}; `onnxnorm doctor` tells what is missing and how to get it"), 1, words)
    except OSError as error:
        return _fail(error, 1, words)
