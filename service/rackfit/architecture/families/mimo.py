"""MiMo: Qwen2 with draft layers, and MiMo-V2-Flash, whose sliding layers have sinks.

Sources: transformers, models/mimo_v2_flash; MiMo-7B's repository for its draft layers.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import as_draft
from rackfit.architecture.families.deepseek import CORRECTION, feed_forwards
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.families.llama import read as read_llama
from rackfit.architecture.families.llama_like import QWEN2
from rackfit.architecture.fields import MAX_POSITIONS, Fields
from rackfit.architecture.frame import (
    Frame,
    Heads,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import Kind, layer_kinds
from rackfit.architecture.model import Architecture, GroupedAttention, Layer, Rotary, Tensor
from rackfit.architecture.windows import LAYER_TYPES


def read_mimo(fields: Fields, names: Names) -> Architecture:
    """Read MiMo-7B."""
    architecture = read_llama(QWEN2, fields, names)
    count = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    layer = architecture.layers[-1]
    drafted = tuple(draft(names, architecture.hidden_size, layer, count))
    return msgspec.structs.replace(architecture, draft=drafted, draft_layers=count)


def draft(names: Names, hidden: int, layer: Layer, count: int) -> Iterator[Tensor]:
    """Yield MiMo's draft layers: a Qwen2 layer joined by a projection between norms."""
    for i in range(count):
        at = f"{names.base}mtp_layers.{i}"
        yield from as_draft(
            parts.norms(at, hidden, "token_layernorm", "hidden_layernorm", "final_layernorm")
        )
        yield from as_draft(parts.linear(f"{at}.input_proj", hidden, 2 * hidden, "other"))
        yield from as_draft(layer.tensors, names.layer, at)


FULL_EVERY = 6  # and the first layer is full too


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """Attention of one kind of layer: heads, a value's width, the window, sinks or none."""

    heads: Heads
    value: int
    window: int | None
    sinks: bool

    def remembering(self) -> GroupedAttention:
        """Return the cache geometry."""
        return msgspec.structs.replace(grouped(self.heads, self.window), value_width=self.value)

    def tensors(self, at: str, hidden: int, *, bias: bool) -> Iterator[Tensor]:
        """Yield its tensors."""
        yield from parts.grouped_attention(
            at, hidden, self.heads, bias=bias, value_width=self.value
        )
        if self.sinks:
            yield parts.sinks(f"{at}.attention_sink_bias", self.heads.heads)


def read_flash(fields: Fields, names: Names) -> Architecture:
    """Read MiMo-V2-Flash. Its draft layers are not described by the config and not counted."""
    frame = read_frame(fields)
    mixes = read_mixes(fields, frame)
    feeds = feed_forwards(fields, names, frame, correction=CORRECTION)
    bias = fields.flag("attention_bias")
    at = f"{names.layer}.self_attn"
    mixers = [tuple(mix.tensors(at, frame.hidden, bias=bias)) for mix in mixes]
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[int, Kind]) -> Layer:
        sliding, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=mixes[sliding].remembering(),
            feed_forward=feed_forward,
            blocks=(mixers[sliding], tensors, norms),
        )

    keys = zip(
        sliding_layers(fields, frame.layers),
        layer_kinds(fields, frame.layers, first_dense=1),
        strict=True,
    )
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=[rotary(fields, frame, mix) for mix in mixes],
    )


def read_mixes(fields: Fields, frame: Frame) -> tuple[Mix, Mix]:
    """Read full attention, then sliding attention, which has twice the KV heads by default."""
    fields = fields.or_else(head_dim=192, v_head_dim=128)
    full = read_heads(fields, frame.hidden)
    doubled = {"swa_num_key_value_heads": 2 * full.kv_heads, "swa_head_dim": full.width}
    swa = fields.or_else(swa_num_attention_heads=full.heads, **doubled)
    sliding = read_heads(swa, frame.hidden, "swa_")
    value = fields.integer("v_head_dim", default=full.width)
    return (
        Mix(
            heads=full,
            value=value,
            window=None,
            sinks=fields.flag("add_full_attention_sink_bias"),
        ),
        Mix(
            heads=sliding,
            value=fields.integer("swa_v_head_dim", default=value),
            window=fields.integer("sliding_window", most=MAX_POSITIONS),
            sinks=fields.flag("add_swa_attention_sink_bias", default=True),
        ),
    )


def sliding_layers(fields: Fields, layers: int) -> list[int]:
    """Return 1 for each sliding layer and 0 for each full one."""
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        return [LAYER_TYPES.index(t) for t in types]
    if not fields.has("hybrid_layer_pattern"):
        return [int(i > 0 and (i + 1) % FULL_EVERY > 0) for i in range(layers)]
    return fields.integers("hybrid_layer_pattern", length=layers, most=1)


def rotary(fields: Fields, frame: Frame, mix: Mix) -> Rotary:
    """Return a kind of layer's table; each has a base of its own."""
    factor = min(1.0, fields.number("partial_rotary_factor", default=1.0))
    return Rotary(positions=frame.context, width=max(1, int(mix.heads.width * factor)))


READERS: Mapping[str, Reader] = {"mimo": read_mimo, "mimo_v2_flash": read_flash}
