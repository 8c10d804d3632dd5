"""Which layers see only a window of past tokens."""

from rackfit.architecture.fields import MAX_POSITIONS, Fields

LAYER_TYPES = ("full_attention", "sliding_attention")


def every_layer(fields: Fields, layers: int) -> list[int | None]:
    """Return `sliding_window` for all layers (Mistral)."""
    return [fields.optional("sliding_window", most=MAX_POSITIONS)] * layers


def no_layer(_fields: Fields, layers: int) -> list[int | None]:
    """Return no window at all, whatever the config leaves lying about."""
    return [None] * layers


def late_layers(fields: Fields, layers: int) -> list[int | None]:
    """Return `sliding_window` from `max_window_layers` on, where it is switched on (Qwen2)."""
    if not fields.flag("use_sliding_window"):
        return [None] * layers
    if fields.has("layer_types"):
        return listed_layers(fields, layers)
    window = fields.optional("sliding_window", most=MAX_POSITIONS)
    first = fields.integer("max_window_layers", default=layers, least=0)
    return [window if i >= first else None for i in range(layers)]


def listed_layers(fields: Fields, layers: int, *, full_every: int = 1) -> list[int | None]:
    """Return `sliding_window` for the layers `layer_types` names.

    Without that list every `full_every`-th layer is full and the others slide.
    """
    window = fields.optional("sliding_window", most=MAX_POSITIONS)
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        return [window if t == "sliding_attention" else None for t in types]
    return [window if (i + 1) % full_every else None for i in range(layers)]
