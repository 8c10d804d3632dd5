"""Which layers see only a window of past tokens."""

from collections.abc import Callable

from rackfit.architecture.fields import MAX_POSITIONS, Fields

Windows = Callable[[Fields, int], list[int | None]]
"""Config and number of layers -> each layer's window, None for all tokens."""

LAYER_TYPES = ("full_attention", "sliding_attention")


def every_layer(fields: Fields, layers: int) -> list[int | None]:
    """Return `sliding_window` for all layers (Mistral)."""
    return [fields.optional("sliding_window", most=MAX_POSITIONS)] * layers


def every_or_listed(fields: Fields, layers: int) -> list[int | None]:
    """Return the windows that `layer_types` tells of, or of all layers (Ministral)."""
    read = _named if fields.has("layer_types") else every_layer
    return read(fields, layers)


def no_layer(_fields: Fields, layers: int) -> list[int | None]:
    """Return no window at all, whatever the config leaves lying about."""
    return [None] * layers


def late_layers(fields: Fields, layers: int) -> list[int | None]:
    """Return `sliding_window` from `max_window_layers` on, where it is switched on (Qwen2)."""
    if not fields.flag("use_sliding_window"):
        fields.moot("sliding_window", "max_window_layers")
        return _all_full(fields, layers)
    if fields.has("layer_types"):
        return _named(fields, layers)
    window = fields.optional("sliding_window", most=MAX_POSITIONS)
    first = fields.integer("max_window_layers", default=layers, least=0)
    return [window if i >= first else None for i in range(layers)]


def listed(*, full_every: int) -> Windows:
    """Return a reader of `layer_types`, or of a pattern of one full layer in every so many.

    `sliding_window_pattern` overrides the family's own pattern: a number, or letters of which
    the last stands for the full layer ("LLLG").
    """

    def read(fields: Fields, layers: int) -> list[int | None]:
        if fields.has("layer_types"):
            return _named(fields, layers)
        window = fields.optional("sliding_window", most=MAX_POSITIONS)
        if fields.holds_text("sliding_window_pattern"):
            every = max(1, len(fields.text("sliding_window_pattern")))
        else:
            every = fields.integer("sliding_window_pattern", default=full_every)
        return [window if (i + 1) % every else None for i in range(layers)]

    return read


def first_of(*, every: int) -> Windows:
    """Return a reader of `layer_types`, or of a pattern of which the first layer is full."""

    def read(fields: Fields, layers: int) -> list[int | None]:
        if fields.has("layer_types"):
            return _named(fields, layers)
        window = fields.optional("sliding_window", most=MAX_POSITIONS)
        return [window if i % every else None for i in range(layers)]

    return read


def _all_full(fields: Fields, layers: int) -> list[int | None]:
    """Return no window; a list that names sliding layers contradicts the switch.

    transformers has no window to give them and fails (models/qwen3, use_sliding_window).
    """
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        detail = "layer_types names sliding layers, and use_sliding_window is not true."
        fields.require("layer_types", detail, holds=LAYER_TYPES[1] not in types)
    return [None] * layers


def _named(fields: Fields, layers: int) -> list[int | None]:
    window = fields.optional("sliding_window", most=MAX_POSITIONS)
    types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
    detail = "sliding_window is missing, and layer_types names sliding layers."
    holds = window is not None or LAYER_TYPES[1] not in types
    fields.require("sliding_window", detail, holds=holds)
    return [window if t == LAYER_TYPES[1] else None for t in types]
