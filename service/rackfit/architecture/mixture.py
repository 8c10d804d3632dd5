"""Mixtures of experts: their geometry from a config, which layers hold one, and its tensors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from rackfit.architecture import parts
from rackfit.architecture.fields import MAX_EXPERTS, Fields
from rackfit.architecture.model import ExpertFeedForward, FeedForward, Tensor

Kind = Literal["sparse", "dense"]
"""What feeds forward in a layer: a mixture of experts, or the same for every token."""

Feeds = Mapping[Kind, tuple[FeedForward, tuple[Tensor, ...]]]
"""Geometry and tensors of each kind a model has."""

EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
SHARED = ("n_shared_experts", "num_shared_experts")
ACTIVE = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_top_k",
    "moe_topk",
    "moe_k",
)
GROUPS = ("n_group", "num_expert_group")


def read_mixture(
    fields: Fields,
    *,
    width: Sequence[str] = ("moe_intermediate_size",),
    shared_width: int | None = None,
) -> ExpertFeedForward:
    """Read the geometry of a mixture.

    Args:
        fields: the language model's config.
        width: names of the field that holds one expert's width.
        shared_width: joint width of the shared experts; left out, it is that of
            `n_shared_experts` experts.
    """
    expert_width = fields.integer(*width)
    if shared_width is None:
        count = fields.integer(*SHARED, default=0, least=0, most=MAX_EXPERTS)
        shared_width = count * expert_width
    experts = ExpertFeedForward(
        experts=fields.integer(*EXPERTS, most=MAX_EXPERTS),
        active=fields.integer(*ACTIVE, most=MAX_EXPERTS),
        width=expert_width,
        shared_width=shared_width,
    )
    check_groups(fields, experts.experts)
    return checked(fields, experts)


def check_groups(fields: Fields, experts: int) -> None:
    """Note groups of experts, of which a router takes the best, that cannot be.

    Source: transformers, models/deepseek_v3 (the scores are viewed by group, then the best
    groups are taken); models/deepseek_v2: a greedy router has no groups.
    """
    if fields.holds_text("topk_method") and fields.text("topk_method") == "greedy":
        return
    groups = fields.integer(*GROUPS, default=0, least=0, most=MAX_EXPERTS) or 1
    best = fields.integer("topk_group", default=0, least=0, most=MAX_EXPERTS)
    name = next(filter(fields.has, GROUPS), GROUPS[0])
    detail = f"{name} = {groups} must divide {experts} experts."
    fields.require(name, detail, holds=experts % groups == 0)
    detail = f"The best {best} of {groups} groups cannot be taken."
    fields.require("topk_group", detail, holds=best <= groups)


def checked(fields: Fields, experts: ExpertFeedForward, name: str = ACTIVE[0]) -> ExpertFeedForward:
    """Return a mixture after noting if more experts are active than there are."""
    detail = f"{experts.active} of {experts.experts} experts cannot be active."
    fields.require(name, detail, holds=experts.active <= experts.experts)
    return experts


def layer_kinds(fields: Fields, layers: int, *, first_dense: int = 0) -> list[Kind]:
    """Return what feeds forward in each layer, as DeepSeek's configs tell it.

    `mlp_layer_types` or a list in `moe_layer_freq` name each layer; else the first
    `first_k_dense_replace` are dense and of the others every `moe_layer_freq`-th is a mixture.
    """
    if fields.has("mlp_layer_types"):
        fields.moot("first_k_dense_replace", "moe_layer_freq")
        types = fields.words("mlp_layer_types", length=layers, known=("sparse", "dense"))
        return ["sparse" if t == "sparse" else "dense" for t in types]
    if fields.holds_list("moe_layer_freq"):
        fields.moot("first_k_dense_replace")
        flags = fields.integers("moe_layer_freq", length=layers)
        return ["sparse" if flag else "dense" for flag in flags]
    dense = fields.integer("first_k_dense_replace", default=first_dense, least=0)
    step = fields.integer("moe_layer_freq", default=1)
    return ["sparse" if i >= dense and i % step == 0 else "dense" for i in range(layers)]


def mixture(  # noqa: PLR0913 - the ways in which mixtures differ
    at: str,
    hidden: int,
    experts: ExpertFeedForward,
    *,
    gate: str = "gate",
    correction: str | None = None,
    shared: str = "shared_experts",
    shared_bias: bool = False,
    names: Sequence[str] = parts.GATED,
    stacked: bool = False,
) -> Iterator[Tensor]:
    """Yield router, routed experts and shared experts of a mixture.

    `correction` names the router's load-balancing bias below `at`, where it has one. Routed
    experts stand apart under `names`, or `stacked` in two tensors.
    """
    name = None if correction is None else f"{at}.{correction}"
    yield from parts.router(f"{at}.{gate}", experts.experts, hidden, correction=name)
    if stacked:
        yield from parts.fused_experts(at, hidden, experts.width, experts.experts)
    else:
        yield from parts.routed_experts(at, hidden, experts.width, experts.experts, names=names)
    yield from parts.shared_experts(
        f"{at}.{shared}", hidden, experts.shared_width, bias=shared_bias
    )
