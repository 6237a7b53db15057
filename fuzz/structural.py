"""Valid models with a few things wrong: thousands of them, in a process that may crash.

    python -m fuzz structural [--minutes 60] [--seed 0] [--jobs 2] [--verify]

With --verify each result is verified against the original as well, which takes several times as long. Each input is
written down before it is tried, so that one on which the process dies is known too. Findings land in fuzz/findings/,
from where the tests run them for ever after; the exit code is 1 where there are any.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fuzz.harness.limits import SECONDS, limited, survives
from fuzz.harness.processes import CURRENT, arguments_of, run_seeds, tell_outcome
from fuzz.sources.mutated import mutated
from fuzz.sources.seeds import seed_model

__all__ = ["main", "try_seed"]


def try_seed(seed: int, folder: Path, *, verify: bool = False) -> bool:
    """Put the model of this seed through the toolkit; tells whether it was optimized."""
    data = mutated(seed_model(seed // 20), seed)
    (folder / CURRENT).write_bytes(data)
    with limited(4 * SECONDS if verify else SECONDS):
        return survives(data, folder, verify=verify)


def main() -> int:
    parser = arguments_of(__doc__)
    parser.add_argument("--verify", action="store_true", help="verify each result")
    arguments = parser.parse_args()
    counts = run_seeds(partial(try_seed, verify=arguments.verify), arguments, "structural")
    return tell_outcome(counts, "inputs")
