"""Split rules that every engine has: each a function that returns a `Rejection` or None."""

from collections.abc import Callable, Sequence
from math import gcd

from rackfit.architecture.model import (
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.catalog.entries import Scheme
from rackfit.engines.groups import EXPERTS, family
from rackfit.engines.padding import rounds_blocks, scheme_block
from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

Rule = Callable[[ServedModel, Split], Rejection | None]


def reject(
    split: Split, code: RejectionCode, detail: str, source: str, **numbers: float
) -> Rejection:
    """Build a rejection from the rule in words and the numbers it compared."""
    return Rejection(split=split, code=code, detail=detail, source=source, numbers=numbers)


def attention_heads_divide(model: ServedModel, split: Split) -> Rejection | None:
    """Attention heads are divided evenly over tensor ranks."""
    for kind in model.kinds:
        if kind.attention is not None and kind.attention.heads % split.tensor:
            heads = kind.attention.heads
            return reject(
                split,
                "heads-not-divisible",
                f"{heads} attention heads cannot be divided evenly over TP{split.tensor}.",
                "vLLM ModelConfig.verify_with_parallel_config; SGLang and TensorRT-LLM alike",
                heads=heads,
                tensor=split.tensor,
            )
    return None


def kv_heads_divide_or_repeat(model: ServedModel, split: Split) -> Rejection | None:
    """KV heads are divided evenly over tensor ranks or repeated evenly, never mixed."""
    for kind in model.kinds:
        if not isinstance(kind.attention, GroupedAttention):
            continue
        kv_heads = kind.attention.kv_heads
        if kv_heads % split.tensor and split.tensor % kv_heads:
            return reject(
                split,
                "kv-heads-not-divisible",
                f"{kv_heads} KV heads can neither be divided nor repeated evenly over "
                f"TP{split.tensor}.",
                "vLLM QKVParallelLinear; SGLang and TensorRT-LLM alike",
                kv_heads=kv_heads,
                tensor=split.tensor,
            )
    return None


def feed_forward_divides(model: ServedModel, split: Split) -> Rejection | None:
    """The width of dense and shared feed-forwards is divided evenly over tensor ranks."""
    for kind in model.kinds:
        for width in tensor_divided_widths(kind.feed_forward):
            if width % split.tensor:
                return reject(
                    split,
                    "feed-forward-not-divisible",
                    f"A feed-forward width of {width} cannot be divided evenly over "
                    f"TP{split.tensor}.",
                    "vLLM ColumnParallelLinear: divide(output_size, tp_size)",
                    width=width,
                    tensor=split.tensor,
                )
    return None


def tensor_divided_widths(part: DenseFeedForward | ExpertFeedForward | None) -> list[int]:
    """Widths of a feed-forward that tensor ranks divide; routed experts are apart."""
    match part:
        case DenseFeedForward():
            return [part.width] if part.exact else []
        case ExpertFeedForward():
            return [part.shared_width, part.dense_width]
        case None:
            return []


def stages_have_layers(model: ServedModel, split: Split) -> Rejection | None:
    """Every pipeline stage holds at least one layer."""
    layers = len(model.order)
    if split.pipeline <= layers:
        return None
    return reject(
        split,
        "more-stages-than-layers",
        f"{split.pipeline} pipeline stages cannot each hold one of {layers} layers.",
        "TensorRT-LLM Mapping: pp_size <= num_hidden_layers; vLLM get_pp_indices",
        layers=layers,
        pipeline=split.pipeline,
    )


def expert_degree_has_experts(model: ServedModel, split: Split) -> Rejection | None:
    """Expert parallelism needs at least one routed expert a rank."""
    experts = model.architecture.experts
    held = experts.experts if experts else 0
    if split.expert <= max(held, 1):
        return None
    detail = (
        f"EP{split.expert} would leave ranks without any of the {held} experts."
        if held
        else f"EP{split.expert} needs a mixture of experts; this model is dense."
    )
    source = "an expert group is never empty"
    code: RejectionCode = "expert-degree-without-experts"
    return reject(split, code, detail, source, experts=held, expert=split.expert)


def expert_slices_whole_blocks(model: ServedModel, split: Split) -> Rejection | None:
    """An expert divided over expert-tensor ranks keeps whole blocks of its scheme.

    Where engines give each rank whole blocks themselves, its width is divided evenly.
    """
    degree, experts = split.expert_tensor or 1, model.architecture.experts
    if degree == 1 or experts is None or not experts.exact:
        return None
    width = experts.width
    for scheme in model.expert_schemes:
        block = 1 if rounds_blocks(model, scheme) else scheme_block(scheme)
        if width % (degree * block):
            return reject(
                split,
                "expert-block-misaligned",
                _uneven_slices(width, degree, block)
                + f"{scheme.id} experts of width {width} cannot be divided over {degree} ranks.",
                _slices_source(scheme),
                expert_width=width,
                expert_tensor=degree,
                block=block,
            )
    return None


def _slices_source(scheme: Scheme) -> str:
    """Where it says that slices of experts in `scheme` are whole blocks."""
    plain = "vLLM Fp8MoEMethod.create_weights: intermediate size per partition % block"
    return EXPERTS.get(family(scheme), plain)


def _uneven_slices(width: int, degree: int, block: int) -> str:
    """Say that slices are no whole numbers, or else no whole blocks."""
    if width % degree:
        return f"A width of {width} cannot be divided evenly by {degree}: "
    return f"{width}/{degree} = {width // degree} is not a multiple of {block}: "


def repeated_rows(model: ServedModel, tensor: int, *, latent_only: bool) -> Sequence[int]:
    """Degrees above 1 that divide what tensor ranks keep alike, of layers that see all tokens.

    Layers of a state or, with `latent_only`, of heads aside; none where a layer has a window, an
    indexer or compressed rows.
    """
    least = tensor
    for kind in model.kinds:
        match kind.attention:
            case None | RecurrentAttention():
                continue
            case GroupedAttention() if not latent_only and not (
                kind.attention.window or kind.attention.indexer
            ):
                heads = kind.attention.kv_heads
                least = gcd(least, tensor // heads if tensor % heads == 0 else 1)
            case LatentAttention() if kind.attention.indexer is None:
                continue
            case _:
                return ()
    return [degree for degree in range(2, least + 1) if least % degree == 0]


def padded_vocabulary(size: int, multiple: int = 64) -> int:
    """The vocabulary rounded up to a whole number of `multiple` rows."""
    return -(-size // multiple) * multiple


def no_context_parallelism(_model: ServedModel, split: Split) -> Rejection | None:
    """Sequences divided over devices of their own; tensor ranks that divide rows are another thing.

    vLLM's model runner V2 refuses it and llama.cpp knows none. TensorRT-LLM has it for writing
    (Helix) and SGLang for reading (`--attn-cp-size`), by rules of their own.
    """
    if split.context == 1:
        return None
    return reject(
        split,
        "degree-unsupported",
        f"context = {split.context}: TensorRT-LLM and SGLang alone are planned with devices that "
        "divide sequences; decode_context divides the cache over tensor ranks.",
        "github.com/vllm-project/vllm/issues/47846 (model runner V2 refuses it)",
        context=split.context,
    )


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


COMMON_RULES: tuple[Rule, ...] = (
    attention_heads_divide,
    kv_heads_divide_or_repeat,
    feed_forward_divides,
    expert_degree_has_experts,
    expert_slices_whole_blocks,
)
"""Rules all engines share that do not look at the pipeline, in the order they are reported."""

WHOLE_SEQUENCES: tuple[Rule, ...] = (*COMMON_RULES, no_context_parallelism)
"""The same of engines whose devices do not divide sequences."""

COMMON_PIPELINE_RULES: tuple[Rule, ...] = (stages_have_layers,)
"""Rules all engines share for the pipeline degree."""
