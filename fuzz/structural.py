"""Valid models with a few things wrong: thousands of them, in a process that may crash.

    python -m fuzz.structural [--minutes 60] [--seed 0] [--jobs 2]

Each input is written down before it is tried, so that one on which the process dies is known too. Findings land in
fuzz/findings/, from where the tests run them for ever after; the exit code is 1 where there are any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz.children import CURRENT, arguments_of, run_seeds
from fuzz.mutate import mutated
from fuzz.seeds import seed_model
from fuzz.target import limited, survives

__all__ = ["main", "try_seed"]


def try_seed(seed: int, folder: Path) -> bool:
    """Put the model of this seed through the toolkit; tells whether it was optimized."""
    data = mutated(seed_model(seed // 20), seed)
    (folder / CURRENT).write_bytes(data)
    with limited():
        return survives(data, folder)


def main() -> int:
    counts = run_seeds(try_seed, arguments_of(__doc__), "structural")
    print(
        f"{counts.tried} inputs tried, {counts.counted} of them optimized, the others refused; "
        f"{counts.findings} findings"
    )
    return 1 if counts.findings else 0


if __name__ == "__main__":
    sys.exit(main())
