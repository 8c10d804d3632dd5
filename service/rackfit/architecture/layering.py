"""Fields that speak of single layers, held to the model's depth whatever family has them.

Readers hold the lists they read to their family's own words; here stands what holds for all.
"""

from rackfit.architecture.fields import Fields

ATTENTION = (
    "full_attention",
    "sliding_attention",
    "chunked_attention",
    "window_attention",
    "indexed_attention",
    "compressed_sparse_attention",
    "heavily_compressed_attention",
    "minimax_m3_sparse",
    "conv",
    "moe",
    "hybrid",
    "hybrid_sliding",
    "reference_sliding_attention",
    "linear_attention",
    "mamba",
    "attention",
    "deepseek_sparse_attention",
)
"""What `layer_types` may hold, older names last.

Source: transformers 5.24, configuration_utils.py, ALLOWED_ATTN_LAYER_TYPES and
_LEGACY_LAYER_TYPE_REMAP; validate_layer_type refuses any other, and any other length, of every
family, be it one that reads the list or not.
"""

INDICES = ("mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "moe_layers")
"""Lists of layers by number, from 0."""

LEADING = ("first_k_dense_replace", "num_dense_layers")
"""How many of the first layers are dense."""


def check_layers(fields: Fields, layers: int) -> None:
    """Note lists of another length, words no layer answers to and layers there are none of."""
    fields = fields.aside()
    if fields.has("layer_types"):
        # Some repositories go on with the types of their draft layers (Step-3.5).
        spare = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
        fields.words("layer_types", length=layers, known=ATTENTION, spare=spare)
    for name in filter(fields.holds_list, INDICES):
        fields.integers(name, most=layers - 1)
    for name in filter(fields.has, LEADING):
        fields.integer(name, least=0, most=layers)
