"""Devices that share the reading of prompts: what SGLang allows, and how it is told.

Source: sglang/srt/server_args.py of 0.5.9 to 0.5.18, arg_groups/parallel_hook.py,
deepseek_v4_hook.py and model_overrides of 0.5.19 to 0.5.23, and the models that ask for their
context ranks.
"""

from collections.abc import Mapping

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    GroupedAttention,
    LatentAttention,
)
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.version import Version, shown

PREFILL = "sglang/srt/arg_groups: overrides.py, deepseek_v4_hook.py, parallel_hook.py"

READS = (
    "Context ranks share the reading of prompts alone: each keeps all rows of the cache and "
    "repeats the writing. Replicas that only write have none (--enable-prefill-cp)."
)
"""What a caller should know who names context ranks."""

ONE_NODE = 8
"""Ranks of `--tp-size` at most, where rows are chosen by an indexer or compressed."""

SPARSE: Version = (0, 5, 9)
OTHERS: Version = (0, 5, 12)
"""Versions from which prompts are divided where rows are chosen, and in other models."""

GROUPED: Mapping[str, Version] = {
    "Qwen3MoeForCausalLM": (0, 5, 12),
    "MiMoV2FlashForCausalLM": (0, 5, 23),
}
"""Models of grouped attention whose prompts are divided, and from when."""

HEADS_TOO: Version = (0, 5, 22)
"""From here ranks that take tokens by turns may divide heads or sequences besides, where an indexer
chooses rows (model_overrides/deepseek_v2.py)."""

ONE_NAME: Version = (0, 5, 14)
"""From here one argument divides prompts of any attention."""


def prefill_context(version: Version, model: ServedModel, split: Split) -> Rejection | None:
    """Each kind of attention has a way of its own to divide prompts, or none."""
    broken = _undivided(version, model, split) if split.context > 1 else ""
    if not broken:
        return None
    detail = f"context = {split.context}: SGLang {broken}."
    numbers = {"context": split.context, "data": split.data, "ranks": split.stage_ranks}
    return reject(split, "degree-unsupported", detail, PREFILL, **numbers)


def _undivided(version: Version, model: ServedModel, split: Split) -> str:
    """Say what is broken of the rules for context ranks, nothing if all is well."""
    needed = needed_version(model)
    if needed is None or version < needed:
        since = f"from {shown(needed)} on" if needed else "in no version"
        return f"divides prompts of this model {since}"
    told = (_by_attention(version, kind.attention, split) for kind in model.kinds)
    return next(filter(None, told), "")


def _by_attention(version: Version, attention: Attention | None, split: Split) -> str:
    match attention:
        case LatentAttention() | CompressedAttention():
            return _by_latent(version, attention, split)
        case GroupedAttention():
            return ""
        case _:
            return "does not divide prompts of layers with a state"


def _by_latent(
    version: Version, attention: LatentAttention | CompressedAttention, split: Split
) -> str:
    """Say what is broken of the rules for latent rows, nothing if all is well."""
    latent = isinstance(attention, LatentAttention)
    if latent and attention.indexer and version >= HEADS_TOO:
        return _beyond_a_node(split)
    if split.tensor > 1:
        return "keeps attention whole on context ranks of latent rows (tensor = 1)"
    if latent and attention.indexer is None:
        if split.expert == split.stage_ranks:
            return ""
        return f"puts experts on all {split.stage_ranks} ranks then (EP{split.stage_ranks}, DeepEP)"
    if split.data > 1:
        return "has no attention DP beside context ranks of sparse or compressed rows"
    return _beyond_a_node(split)


def _beyond_a_node(split: Split) -> str:
    if split.stage_ranks <= ONE_NODE:
        return ""
    return (
        f"divides prompts of this model on one node, {ONE_NODE} ranks of --tp at most, not tensor "
        f"{split.tensor} x data {split.data} x context {split.context} = {split.stage_ranks}"
    )


def reading_degrees(version: Version, model: ServedModel, tensor: int) -> tuple[int, ...]:
    """Degrees worth searching: all tensor ranks of a model of latent rows, on one node.

    Or some of them, where the others may divide heads.
    """
    kinds = [kind.attention for kind in model.kinds]
    latent = all(isinstance(kind, LatentAttention | CompressedAttention) for kind in kinds)
    if not latent or not 1 < tensor <= ONE_NODE:
        return ()
    if _sparse(model) and version >= HEADS_TOO:
        return tuple(degree for degree in range(2, tensor + 1) if tensor % degree == 0)
    return (tensor,)


def needed_version(model: ServedModel) -> Version | None:
    """The version from which prompts of a model are divided; None where they never are."""
    kinds = [kind.attention for kind in model.kinds]
    if any(isinstance(kind, GroupedAttention) for kind in kinds):
        return GROUPED.get(model.architecture.name)
    return SPARSE if _sparse(model) else OTHERS


def _sparse(model: ServedModel) -> bool:
    kinds = [kind.attention for kind in model.kinds]
    return all(isinstance(kind, LatentAttention) and kind.indexer for kind in kinds)


def reading_arguments(version: Version, model: ServedModel) -> tuple[str, ...]:
    """By turns for sparse and compressed rows, else in pairs of blocks, as a version spells it."""
    kinds = [kind.attention for kind in model.kinds]
    latent = any(isinstance(kind, LatentAttention) and kind.indexer for kind in kinds)
    by_turns = latent or any(isinstance(kind, CompressedAttention) for kind in kinds)
    if version >= ONE_NAME:
        return ("--enable-prefill-cp", f"--cp-strategy={'interleave' if by_turns else 'zigzag'}")
    if by_turns:
        return ("--enable-nsa-prefill-context-parallel", "--nsa-prefill-cp-mode=round-robin-split")
    return ("--enable-prefill-context-parallel", "--prefill-cp-mode=in-seq-split")


def on_amd(model: ServedModel) -> bool:
    """Tell whether AMD's devices divide prompts: of DeepSeek-V4 alone (parallel_hook.py)."""
    return any(isinstance(kind.attention, CompressedAttention) for kind in model.kinds)
