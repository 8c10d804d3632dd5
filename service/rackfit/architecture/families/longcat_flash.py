"""LongCat-Flash: blocks of two latent attentions, two feed-forwards and one mixture between them.

The mixture works beside the first feed-forward and the second attention (shortcut). Each half of
a block keeps a cache and counts as a layer here. Experts that do nothing ("zero-computation")
have no weights; the router chooses among them too, so that fewer real ones are active than
`moe_topk` says, which is not counted on. Sources: transformers, models/longcat_flash;
LongCat-Flash's report, 2.1 and 2.2.
"""

from collections.abc import Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.deepseek import read_latent, remembering
from rackfit.architecture.families.llama import BEFORE_EACH
from rackfit.architecture.fields import MAX_EXPERTS, MAX_LAYERS, Fields
from rackfit.architecture.frame import Frame, Names, Reader, assemble, read_frame, stack
from rackfit.architecture.mixture import read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

WIDTHS = ("ffn_hidden_size", "intermediate_size")
EXPERT_WIDTHS = ("expert_ffn_hidden_size", "moe_intermediate_size")


def read(fields: Fields, names: Names) -> Architecture:
    """Read the blocks, each as a layer with the mixture and one without."""
    fields = fields.or_else(q_lora_rank=1536, moe_topk=12, zero_expert_num=256)
    blocks = fields.integer("num_layers", most=MAX_LAYERS // 2)
    fields.moot("num_hidden_layers")
    frame = read_frame(fields.replace(num_hidden_layers=2 * blocks))
    latent, width = read_latent(fields), fields.integer(*WIDTHS)
    whole = latent.nope + latent.rope
    detail = f"qk_head_dim must be qk_nope_head_dim + qk_rope_head_dim = {whole}."
    same = fields.integer("qk_head_dim", default=whole) == whole
    fields.require("qk_head_dim", detail, holds=same)
    bias = fields.flag("attention_bias")
    experts = msgspec.structs.replace(
        read_mixture(fields, width=EXPERT_WIDTHS, shared_width=0), dense_width=width
    )

    def layer(half: int) -> Layer:
        tensors = (
            *parts.latent_attention(
                f"{names.layer}.self_attn.{half}", frame.hidden, latent, bias=bias
            ),
            *parts.feed_forward(f"{names.layer}.mlps.{half}", frame.hidden, width),
            *(
                norm
                for name in BEFORE_EACH
                for norm in parts.norm(f"{names.layer}.{name}.{half}", frame.hidden)
            ),
        )
        return Layer(
            attention=remembering(latent, None, own=False),
            feed_forward=DenseFeedForward(width=width) if half else experts,
            blocks=(tensors,) if half else (tensors, mixing(fields, names, frame, experts)),
        )

    return assemble(
        names,
        frame,
        stack([i % 2 for i in range(frame.layers)], layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, latent.rope, frame.context),),
    )


def mixing(
    fields: Fields, names: Names, frame: Frame, experts: ExpertFeedForward
) -> tuple[Tensor, ...]:
    """Return the mixture; its router scores the experts that do nothing as well."""
    idle = fields.integer("zero_expert_num", least=0, most=MAX_EXPERTS)
    at, bias = f"{names.layer}.mlp", fields.flag("router_bias")
    return (
        *parts.router(
            f"{at}.router.classifier",
            experts.experts + idle,
            frame.hidden,
            bias=bias,
            correction=f"{at}.router.e_score_correction_bias",
        ),
        *parts.routed_experts(at, frame.hidden, experts.width, experts.experts),
    )


READERS: Mapping[str, Reader] = {"longcat_flash": read}
