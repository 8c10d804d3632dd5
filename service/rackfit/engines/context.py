"""Devices that divide sequences: what TensorRT-LLM (Helix) and SGLang (prefill CP) allow.

Helix ranks divide the rows of the cache while tokens are written, and are tensor or expert ranks
outside attention. SGLang's divide the tokens of prompts while these are read; each keeps all rows.
"""

from collections.abc import Iterator

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    DenseFeedForward,
    GroupedAttention,
    LatentAttention,
)
from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.rules import reject, tensor_divided_widths
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

HELIX = "TensorRT-LLM 1.3, docs/source/features/helix.md; _torch/modules/attention.py and mla.py"
PREFILL = "sglang/srt/arg_groups: overrides.py, deepseek_v4_hook.py, parallel_hook.py"

WRITES = (
    "Context ranks are Helix: for replicas that only write (`disaggregate`), and documented for "
    "DeepSeek-V3 and its like; of grouped attention, Qwen3 alone is wired for it."
)
READS = (
    "Context ranks share the reading of prompts alone: each keeps all rows of the cache and "
    "repeats the writing. Replicas that only write have none (--enable-prefill-cp)."
)
"""What a caller should know who names context ranks."""

ONE_NODE = 8
"""Ranks of `--tp-size` at most, where rows are chosen by an indexer or compressed (the same)."""


def experts_on_all_ranks(_model: ServedModel, split: Split) -> Rejection | None:
    """Experts are divided over context ranks as over all others."""
    if not split.repeats_experts:
        return None
    return reject(
        split,
        "degree-unsupported",
        f"EP{split.expert} with expert_tensor {split.expert_tensor} would repeat experts on "
        f"{split.context} context ranks; engines divide them over all {split.stage_ranks} ranks "
        "of a stage.",
        "TensorRT-LLM Mapping: moe_tp x moe_ep = tp x cp; SGLang: ep_size divides tp_size",
        expert=split.expert,
        expert_tensor=split.expert_tensor or 1,
        stage_ranks=split.stage_ranks,
    )


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


def prefill_context(model: ServedModel, split: Split) -> Rejection | None:
    """SGLang's: each kind of attention has a way of its own to divide prompts, or none."""
    if split.context == 1:
        return None
    for kind in model.kinds:
        match kind.attention:
            case LatentAttention() | CompressedAttention():
                broken = _by_latent(kind.attention, split)
            case GroupedAttention():
                broken = _by_grouped(kind.attention, model)
            case _:
                broken = "layers of a state do not divide prompts"
        if broken:
            detail = f"context = {split.context}: SGLang {broken}."
            return reject(
                split,
                "degree-unsupported",
                detail,
                PREFILL,
                context=split.context,
                ranks=split.cell,
            )
    return None


def _by_latent(attention: LatentAttention | CompressedAttention, split: Split) -> str:
    """Say what is broken of the rules for latent rows, nothing if all is well."""
    if split.tensor > 1:
        return "keeps attention whole on context ranks of latent rows (tensor = 1)"
    if isinstance(attention, LatentAttention) and attention.indexer is None:
        if split.expert == split.stage_ranks:
            return ""
        return f"puts experts on all {split.stage_ranks} ranks then (EP{split.stage_ranks}, DeepEP)"
    if split.data > 1:
        return "has no attention DP beside context ranks of sparse or compressed rows"
    if split.stage_ranks > ONE_NODE:
        return f"has at most {ONE_NODE} such ranks, on one node"
    return ""


def _by_grouped(attention: GroupedAttention, model: ServedModel) -> str:
    """The same for grouped rows: mixtures of experts without an indexer divide prompts."""
    if attention.indexer:
        return "does not divide prompts of grouped attention with an indexer"
    parts = [kind.feed_forward for kind in model.kinds]
    if any(isinstance(part, DenseFeedForward) for part in parts):
        return "divides prompts of grouped attention in models whose layers all have experts"
    return ""


def reading_degrees(model: ServedModel, tensor: int) -> tuple[int, ...]:
    """Degrees worth searching: all tensor ranks of a model of latent rows, on one node."""
    latent = all(
        isinstance(kind.attention, LatentAttention | CompressedAttention) for kind in model.kinds
    )
    return (tensor,) if latent and 1 < tensor <= ONE_NODE else ()


def reading_strategy(model: ServedModel) -> str:
    """`--cp-strategy`: by turns for sparse and compressed rows, else in pairs of blocks."""
    kinds = [kind.attention for kind in model.kinds]
    latent = any(isinstance(kind, LatentAttention) and kind.indexer for kind in kinds)
    compressed = any(isinstance(kind, CompressedAttention) for kind in kinds)
    return "interleave" if latent or compressed else "zigzag"
