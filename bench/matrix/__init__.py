"""Which runtime runs which form of a model, with the numbers of the original: the table of docs/runtimes.md.

    python -m bench matrix --short                 # what is installed here, on small files
    python -m bench matrix --only ncnn --networks  # one column, on small files alone
    python -m bench matrix --out docs/runtimes.md  # everything; installs each runtime into a folder of its own
    python -m bench matrix --resume ...            # goes on where the last run ended

Rows are the networks of models/ and small files for each kind of normalization, each as it was exported and for every
target. Columns are runtimes. The numbers to compare with are PyTorch's in double precision, or the formula's.
"""

from bench.matrix.command import main

__all__ = ["main"]
