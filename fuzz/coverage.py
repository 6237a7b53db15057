"""Coverage-guided fuzzing of load, optimize and save, by atheris (pip install "onnxnorm[fuzz]").

    python -m fuzz coverage [--minutes 60] [corpus folder]

The corpus is kept between runs (fuzz/corpus by default, not part of the repository). The exit code is that of
libFuzzer: 0 where nothing was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

# The finders of editable installs load modules past the instrumentation; the repository itself is on the path.
sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]

with atheris.instrument_imports(include=["onnxnorm"]):
    import onnxnorm.graph.facts
    import onnxnorm.io.load_and_save
    import onnxnorm.optimizer.optimize  # noqa: F401

from fuzz.harness.limits import SECONDS, survives  # noqa: E402
from fuzz.sources.mutated import mutated  # noqa: E402
from fuzz.sources.seeds import FINDINGS, seed_model  # noqa: E402


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time the structure is changed instead of the bytes, which alone hardly ever gives a model."""
    import onnx

    if seed % 2:
        try:
            changed = mutated(onnx.ModelProto.FromString(data), seed)
        except Exception:
            changed = mutated(seed_model(seed % 1000), seed)
        return changed[:max_size]
    return bytes(atheris.Mutate(data, max_size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=Path, default=Path(__file__).parent / "corpus")
    parser.add_argument("--minutes", type=float, default=60.0)
    arguments = parser.parse_args()
    arguments.corpus.mkdir(exist_ok=True)
    FINDINGS.mkdir(exist_ok=True)
    if not any(arguments.corpus.iterdir()):
        for number in range(40):
            (arguments.corpus / f"seed-{number}").write_bytes(seed_model(number).SerializeToString())
    options = [
        f"-max_total_time={int(60 * arguments.minutes)}",
        # Instrumented code is slow, and this is time on the clock.
        f"-timeout={4 * SECONDS}",
        "-rss_limit_mb=6000",
        "-max_len=200000",
        f"-artifact_prefix={FINDINGS}/coverage-",
    ]
    atheris.Setup([sys.argv[0], *options, str(arguments.corpus)], survives, custom_mutator=_mutate)
    atheris.Fuzz()
