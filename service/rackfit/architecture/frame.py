"""What the configs of nearly all families say alike, and how an architecture is put together."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import msgspec

from rackfit.architecture.fields import MAX_LAYERS, MAX_POSITIONS, Fields, show
from rackfit.architecture.layering import check_layers
from rackfit.architecture.model import Architecture, Layer, Rotary, Tensor

Key = TypeVar("Key", bound=Hashable)

KV_ALIASES = ("num_kv_heads", "n_head_kv", "num_attention_groups")
# What engines hold weights in (vLLM, config/model.py, STR_DTYPE_TO_TORCH_DTYPE): none has FP64.
DTYPES = {
    "bfloat16": "bf16",
    "float16": "f16",
    "half": "f16",
    "float32": "f32",
    "float": "f32",
}
DTYPE_FIELDS = ("torch_dtype", "dtype")


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Where a checkpoint keeps its language model: `base` before the layers, `head` the head."""

    architecture: str
    base: str = "model."
    head: str = "lm_head"

    @property
    def layer(self) -> str:
        """The beginning of a layer's tensor names."""
        return f"{self.base}layers.*"


Reader = Callable[[Fields, Names], Architecture]
"""A family's reader: its config's fields in, its architecture out; wrong fields are noted."""

Stack = tuple[tuple[Layer, ...], tuple[int, ...]]
"""Distinct layers and, for each layer of the model, which of them it is."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Width, depth, vocabulary, context; whether the head is the embedding; the plain type."""

    hidden: int
    layers: int
    vocabulary: int
    context: int
    tied: bool
    dtype: str


class Heads(msgspec.Struct, frozen=True, kw_only=True):
    """Grouped attention's geometry: query heads, KV heads, and a head's width."""

    heads: int
    kv_heads: int
    width: int


def read_frame(fields: Fields) -> Frame:
    """Read the frame; the head is untied unless the config says otherwise."""
    hidden = fields.integer("hidden_size", "n_embd", "n_embed", "d_model")
    layers = fields.integer(
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", most=MAX_LAYERS
    )
    check_layers(fields, layers)
    return Frame(
        hidden=hidden,
        layers=layers,
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer(
            "max_position_embeddings",
            "n_positions",
            "max_seq_len",
            "seq_length",
            "model_max_length",
            most=MAX_POSITIONS,
        ),
        tied=fields.flag("tie_word_embeddings"),
        dtype=read_dtype(fields),
    )


def read_dtype(
    fields: Fields, names: Sequence[str] = DTYPE_FIELDS, *, default: str = "bf16"
) -> str:
    """Read the checkpoint's plain type from the first field that names one."""
    name = next(filter(fields.has, names), None)
    if name is None:
        return default
    said = fields.text(name)
    if fields.holds_text(name) and said.removeprefix("torch.") not in DTYPES:
        fields.fail(name, f"{name} must be one of {', '.join(DTYPES)}, got {show(said)}.")
    return DTYPES.get(said.removeprefix("torch."), default)


def read_heads(
    fields: Fields, hidden: int, prefix: str = "", *, kv_heads: int | None = None
) -> Heads:
    """Read grouped attention; where `kv_heads` are not given either, every head has its own.

    `prefix` is put before the usual names (`swa_`).
    """
    heads_name = f"{prefix}num_attention_heads"
    heads = fields.integer(heads_name, "n_head", "n_heads", "num_heads")
    kv_name = f"{prefix}num_key_value_heads"
    kv_heads = fields.integer(*(kv_name, *KV_ALIASES), default=kv_heads or heads)
    width = fields.optional(f"{prefix}head_dim", "attention_head_dim")
    fields.require(
        kv_name,
        f"{kv_name} = {kv_heads} must divide {heads_name} = {heads}.",
        holds=heads % kv_heads == 0,
    )
    if width is None:
        detail = f"{heads_name} = {heads} must divide hidden_size = {hidden}, or head_dim be given."
        fields.require(heads_name, detail, holds=hidden % heads == 0)
        width = max(1, hidden // heads)
    return Heads(heads=heads, kv_heads=kv_heads, width=width)


def stack(keys: Sequence[Key], build: Callable[[Key], Layer]) -> Stack:
    """Build each distinct layer once from one key a layer.

    Keys that come out as equal layers become one kind.
    """
    kinds: list[Layer] = []
    index: dict[Key, int] = {}
    for key in dict.fromkeys(keys):
        layer = build(key)
        # Layers that differ do so in one of their first fields; hashing them goes through all.
        if layer in kinds:
            index[key] = kinds.index(layer)
        else:
            index[key] = len(kinds)
            kinds.append(layer)
    return tuple(kinds), tuple(map(index.__getitem__, keys))


def assemble(
    names: Names,
    frame: Frame,
    layers: Stack,
    *,
    outer: Iterable[Tensor],
    rotaries: Sequence[Rotary] = (),
    draft: Iterable[Tensor] = (),
    draft_layers: int = 0,
) -> Architecture:
    """Put an architecture together from what a family's reader found."""
    kinds, order = layers
    return Architecture(
        name=names.architecture,
        hidden_size=frame.hidden,
        vocabulary_size=frame.vocabulary,
        context_tokens=frame.context,
        kinds=kinds,
        order=order,
        outer=tuple(outer),
        draft=tuple(draft),
        draft_layers=draft_layers,
        tied_head=frame.tied,
        dtype=frame.dtype,
        rotaries=tuple(rotaries),
    )
