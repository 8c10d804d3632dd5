"""Helix, TensorRT-LLM's context ranks: which models and degrees it is for.

They divide the rows of the cache while tokens are written, and are tensor or expert ranks outside
attention.
"""

from collections.abc import Iterator

from rackfit.architecture.model import (
    Attention,
    GroupedAttention,
    LatentAttention,
)
from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.rules import reject, tensor_divided_widths
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

HELIX = "TensorRT-LLM 1.3, docs/source/features/helix.md; _torch/modules/attention.py and mla.py"

WIRED = frozenset({"Qwen3ForCausalLM", "Qwen3MoeForCausalLM"})
"""Models of grouped attention that pass Helix on to it (models/modeling_qwen3*.py)."""

WRITES = (
    "Context ranks are Helix: for replicas that only write (`disaggregate`), and documented for "
    "DeepSeek-V3 and its like; of grouped attention, Qwen3 alone is wired for it."
)
"""What a caller should know who names context ranks."""


def helix(model: ServedModel, split: Split) -> Rejection | None:
    """Helix: attention over whole caches, heads and widths divided over all ranks besides."""
    if split.context == 1:
        return None
    if not all(_attends_all(kind.attention) for kind in model.kinds):
        return reject(
            split,
            "degree-unsupported",
            f"context = {split.context}: Helix divides the rows of attention that sees all of "
            "them, not of one with a window, an indexer, compressed rows or a state.",
            HELIX,
            context=split.context,
        )
    grouped = any(isinstance(kind.attention, GroupedAttention) for kind in model.kinds)
    if grouped and model.architecture.name not in WIRED:
        return reject(
            split,
            "degree-unsupported",
            f"context = {split.context}: of grouped attention Qwen3 alone is wired for Helix, not "
            f"{model.architecture.name}.",
            HELIX,
            context=split.context,
        )
    return next(_undivided_by_helix(model, split), None)


def _attends_all(attention: Attention | None) -> bool:
    match attention:
        case None:
            return True
        case GroupedAttention():
            return not (attention.window or attention.indexer)
        case LatentAttention():
            return attention.indexer is None
        case _:
            return False


def _undivided_by_helix(model: ServedModel, split: Split) -> Iterator[Rejection]:
    """Heads over tensor x context; so are widths, unless attention DP keeps them whole."""
    ranks = split.cell
    for kind in model.kinds:
        heads = kind.attention.heads if kind.attention else 0
        if heads % ranks:
            detail = f"{heads} attention heads cannot be divided evenly over {ranks} Helix ranks."
            yield reject(split, "heads-not-divisible", detail, HELIX, heads=heads, ranks=ranks)
        for width in tensor_divided_widths(kind.feed_forward) if split.data == 1 else ():
            if width % ranks:
                detail = (
                    f"A feed-forward width of {width} cannot be divided evenly over {ranks} "
                    "Helix ranks, which are tensor ranks outside attention."
                )
                code: RejectionCode = "feed-forward-not-divisible"
                yield reject(split, code, detail, HELIX, width=width, ranks=ranks)
