"""The fast path for plain networks, on the protobuf message itself.

Most networks that are deployed are plain: every BatchNormalization stands right behind a convolution that only it
reads, and once these are folded no pass finds anything more to do. To see that, and to fold, takes a small part of the
time that it takes to build a graph and to send every pass through it, and none of the libraries that this needs.

The result is what the passes would make, number by number. A network that is not plain in every respect is left to them
as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnorm.optimizer.fast_path.fold import Folding, fold_all
from onnxnorm.optimizer.fast_path.network import network_of
from onnxnorm.process.gc_pause import collector_paused

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxnorm.journal import Rewrite

__all__ = ["Folding", "folded", "folding_of"]

# Everything is in memory at once here: the file or the result up to three times for a moment.
_LARGEST = 80_000_000


@collector_paused
def folding_of(message: ModelProto) -> Folding | None:
    """Find what there is to fold; None where the model is no plain network, or one whose norms do not all fold so."""
    network = network_of(message) if message.ByteSize() <= _LARGEST else None
    return None if network is None else fold_all(network)


def folded(message: ModelProto) -> tuple[ModelProto, tuple[Rewrite, ...]] | None:
    """Fold everything; return a new model and an account, or None where `folding_of` finds nothing to do."""
    folding = folding_of(message)
    return None if folding is None else folding.carry_out()
