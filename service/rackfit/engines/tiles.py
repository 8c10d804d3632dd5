"""Matrices stored in tiles or groups with a scale each, of which ranks must hold whole ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import gcd

from rackfit.architecture.model import DenseFeedForward, ExpertFeedForward, Shard
from rackfit.engines import groups
from rackfit.engines.dividing import Dividing
from rackfit.engines.padding import scheme_block
from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

DENSE = (
    "vLLM utils/fp8_utils.py, validate_fp8_block_shape; SGLang quantization/fp8.py, "
    "validate_block_quant_shapes"
)
LEAST_TILE = 32
"""Side of the smallest tiles that scales are refined to (vLLM, refine_fp8_moe_block_shape)."""


def cut_tiles(model: ServedModel, split: Split, parts: int) -> Iterator[Rejection]:
    """Yield dense feed-forwards whose width is no whole number of tiles on each of `parts` ranks.

    Those whose width cannot be divided at all are refused elsewhere, and those of shared experts
    are padded or left whole by the models that have such widths.
    """
    tile = model.dense_tile
    if 1 in {parts, tile}:
        return
    for width in sorted({_dense_width(kind.feed_forward) for kind in model.kinds}):
        if width % parts == 0 and width // parts % tile:
            detail = (
                f"{width}/{parts} = {width // parts} is not a multiple of {tile}: a feed-forward "
                f"of width {width} in tiles of {tile} cannot be divided over {parts} ranks."
            )
            numbers = {"width": width, "ranks": parts, "block": tile}
            yield reject(split, "feed-forward-not-divisible", detail, DENSE, **numbers)


def _dense_width(part: DenseFeedForward | ExpertFeedForward | None) -> int:
    match part:
        case DenseFeedForward(exact=True):
            return part.width
        case ExpertFeedForward():
            return part.dense_width
        case _:
            return 0


DIVIDED: Mapping[Shard, tuple[str, RejectionCode]] = {
    "attention_output": ("attention", "heads-not-divisible"),
    "feed_forward": ("a feed-forward", "feed-forward-not-divisible"),
    "shared_experts": ("shared experts", "expert-block-misaligned"),
}
"""What a matrix leads out of, and what it is called that its groups are cut."""


def divided_whole(
    found: Iterable[Rejection],
    model: ServedModel,
    split: Split,
    engine: Dividing,
    made_whole: Callable[[], bool],
) -> Iterator[Rejection]:
    """Yield what was `found`, and matrices that ranks would cut through tiles or groups.

    Slices of experts that the engine has ways to make whole are not cut.
    """
    for rejection in found:
        if rejection.code != "expert-block-misaligned" or not made_whole():
            yield rejection
    yield from cut_tiles(model, split, engine.feed_forward_parts(split))
    yield from cut_groups(model, split, engine)


def cut_groups(model: ServedModel, split: Split, engine: Dividing) -> Iterator[Rejection]:
    """Yield matrices whose columns are no whole number of groups of integers on each rank.

    Of what `engine` divides by columns; those that cannot be divided at all are refused elsewhere.
    """
    parts_of: Mapping[Shard, int] = {
        "attention_output": engine.attention_output_parts(split),
        "feed_forward": engine.feed_forward_parts(split),
        "shared_experts": engine.shared_expert_parts(split),
    }
    for shard, columns, scheme in model.column_divided:
        family, parts, group = groups.family(scheme), parts_of.get(shard, 1), scheme.scale_columns
        if parts > 1 and family and columns % parts == 0 and columns // parts % group:
            part, code = DIVIDED[shard]
            detail = (
                f"{columns}/{parts} = {columns // parts} is not a multiple of {group}: a matrix "
                f"out of {part}, of {columns} columns in groups of {group} ({scheme.id}), cannot "
                f"be divided over {parts} ranks."
            )
            numbers = {"width": columns, "ranks": parts, "block": group}
            yield reject(split, code, detail, groups.DENSE[family], **numbers)


def refines(model: ServedModel, split: Split) -> bool:
    """Tell whether scales of experts are refined to tiles that their slices are whole ones of.

    Source: vLLM, fused_moe/oracle/fp8.py, refine_fp8_moe_block_shape: FP8 in square tiles.
    """
    experts, parts = model.architecture.experts, split.expert_tensor or 1
    if experts is None or experts.width % parts:
        return False
    if any(scheme.id != "fp8-block" for scheme in model.expert_schemes):
        return False
    sides = (scheme_block(scheme) for scheme in model.expert_schemes)
    return gcd(*sides, experts.width // parts, model.architecture.hidden_size) >= LEAST_TILE
