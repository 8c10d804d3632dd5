"""GLM-4.5 to 4.7 and others: grouped attention over DeepSeek-V3's mixtures and draft layer.

Sources: transformers, models/glm4_moe, dots1, exaone_moe, glm4v_moe, hy_v3, sarvam_moe and
solar_open.
"""

from collections.abc import Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import appended_layers
from rackfit.architecture.families.deepseek import CORRECTION, feed_forwards
from rackfit.architecture.families.llama import BEFORE_EACH, Variant, attention, grouped, switched
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Names, Reader, assemble, read_frame, read_heads, stack
from rackfit.architecture.mixture import Kind, layer_kinds
from rackfit.architecture.model import Architecture, Layer
from rackfit.architecture.rotary import read_rotary
from rackfit.architecture.windows import listed


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read a decoder of grouped attention whose experts are chosen and shared as DeepSeek's."""
    fields = fields.or_else(**variant.defaults)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    bias = switched(variant.feed_bias, fields)
    feeds = feed_forwards(fields, names, frame, correction=CORRECTION, bias=bias)
    mixer = tuple(attention(variant, fields, f"{names.layer}.self_attn", frame, heads))
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[int | None, Kind]) -> Layer:
        window, kind = key
        geometry, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads, window),
            feed_forward=geometry,
            blocks=(mixer, tensors, norms),
        )

    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    keys = zip(
        variant.windows(fields, frame.layers),
        layer_kinds(fields, frame.layers, first_dense=1),
        strict=True,
    )
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
        draft=appended_layers(names, frame, layer((None, "sparse")), draft_layers),
        draft_layers=draft_layers,
    )


GLM4_MOE = Variant(
    output_bias=False,
    query_norm="head",
    query_norm_switch="use_qk_norm",
    feed_bias=False,
    defaults={"num_key_value_heads": 8, "n_shared_experts": 1},
)
VARIANTS: Mapping[str, Variant] = {
    "dots1": Variant(
        query_norm="head",
        feed_bias=False,
        defaults={"first_k_dense_replace": 0, "num_key_value_heads": 32},
    ),
    "exaone_moe": Variant(
        bias=False,
        output_bias=False,
        query_norm="head",
        feed_bias=False,
        windows=listed(full_every=4),
        defaults={"num_key_value_heads": 32, "num_shared_experts": 1, "sliding_window": 4096},
    ),
    "glm4_moe": GLM4_MOE,
    "glm4v_moe_text": Variant(
        output_bias=False,
        feed_bias=False,
        defaults={"attention_bias": True, "num_key_value_heads": 8, "n_shared_experts": 1},
    ),
    "hy_v3": Variant(
        query_norm="head",
        defaults={"num_key_value_heads": 8, "num_shared_experts": 1, "head_dim": 128},
    ),
    "sarvam_moe": msgspec.structs.replace(
        GLM4_MOE,
        defaults={"num_key_value_heads": 4, "n_shared_experts": 1, "use_qk_norm": True},
    ),
    "solar_open": Variant(
        output_bias=False,
        feed_bias=False,
        defaults={
            "first_k_dense_replace": 0,
            "head_dim": 128,
            "intermediate_size": 1,
            "n_shared_experts": 1,
            "num_key_value_heads": 8,
        },
    ),
}
READERS: Mapping[str, Reader] = {
    model_type: partial(read, variant) for model_type, variant in VARIANTS.items()
}
