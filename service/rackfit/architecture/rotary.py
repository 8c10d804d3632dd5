"""Which rotary-position tables an engine precomputes (vLLM, layers/rotary_embedding)."""

from rackfit.architecture.fields import MAX_POSITIONS, Fields
from rackfit.architecture.model import Rotary

MULTIMODAL_STRETCH = 4  # image and video positions run ahead of the tokens (vLLM, mrope.py)


def read_rotary(fields: Fields, width: int, context: int) -> Rotary:
    """Return the table that a config's RoPE settings call for.

    Args:
        fields: the language model's config.
        width: elements of a head that could be rotated, before `partial_rotary_factor`.
        context: positions the model was published for.
    """
    return table(rope_section(fields), fields, width, context)


def rope_section(fields: Fields) -> Fields:
    """Return the RoPE settings under either of the names transformers has used."""
    return fields.section("rope_parameters" if fields.has("rope_parameters") else "rope_scaling")


def table(rope: Fields, fields: Fields, width: int, context: int) -> Rotary:
    """Return the table of one set of RoPE settings; `fields` hold what older configs left out."""
    rows = _positions(rope, fields, context)
    if rope.has("mrope_section"):
        rows *= MULTIMODAL_STRETCH
    return Rotary(positions=rows, width=_width(rope, fields, width))


def _width(rope: Fields, fields: Fields, width: int) -> int:
    """Return how many elements of a head are rotated: `rotary_dim`, or a part of `width`."""
    general = fields.number("partial_rotary_factor", "rotary_pct", default=1.0)
    partial = rope.number("partial_rotary_factor", default=general)
    return fields.integer("rotary_dim", default=max(1, int(width * min(1.0, partial))))


def _positions(rope: Fields, fields: Fields, context: int) -> int:
    """Return the rows of a table: the context, or what its scaling stretches it to."""
    kind = rope.text("rope_type", "type", default="default")
    factor = rope.number("factor", default=1.0)
    name = "original_max_position_embeddings"
    original = fields.integer(name, default=context, most=MAX_POSITIONS)
    original = rope.integer(name, default=original, most=MAX_POSITIONS)
    if kind in {"yarn", "deepseek_yarn"}:
        return int(original * factor)
    if kind in {"linear", "dynamic"}:
        return int(context * factor)
    if kind in {"longrope", "su"}:  # a short table beside the long one
        return context + original
    return context
