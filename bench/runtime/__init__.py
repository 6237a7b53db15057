"""The graphs that runtimes make of originals and of results of `optimize`: nodes, bytes and latency.

    python -m bench runtime --networks bert gpt2 --opsets 17 --seconds 0     nodes and bytes of a share
    python -m bench runtime --seconds 0 --out docs/runtime-graphs.md         the rest of them, and the page
    python -m bench runtime --out docs/runtime-graphs.md                     the times, and the page
    python -m bench runtime --seconds 0 --doubtful-seconds 2 ...             times where a runtime is left with more
    python -m bench runtime --networks --out docs/runtime-graphs.md          the page, of what is kept

What is measured is kept in `--cache` and not measured again by the same version of the package and of the runtimes:
a run that was stopped goes on where it was, shares can run one after the other or side by side, and times can be
measured by themselves on a quiet machine. Nodes are counted anew only of files and results that are new, whatever
version of the package made them. `--out` writes all that is kept, of this share and of others, and what is missing.
"""

from bench.runtime.command import SECTIONS, main

__all__ = ["SECTIONS", "main"]
