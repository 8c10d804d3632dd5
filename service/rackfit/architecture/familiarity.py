"""Fields of a config that no reader asked for: which bear on no size, which contradict the family.

They tell which of the fields that nobody asked for matter, where a config of an unknown
`model_type` is read as a known family's; and which parts a config tells of that its own
family does not have.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from rackfit.architecture.fields import show
from rackfit.architecture.mixture import EXPERTS

HARMLESS = re.compile(
    r"""
    _.*                                             # private: _name_or_path, _attn_implementation
  | architectures | auto_map | model_type | name_or_path | transformers_version | .*_version
  | .*token.*_(id|ids|index) | .*_token | tokenizer_.* | vocab_file | unk_token
  | torch_dtype | dtype | use_bfloat16 | use_cache | return_dict | tie_encoder_decoder
  | is_(encoder_)?decoder | is_encoder_decoder | (add_)?cross_attention.* | pruned_heads
  | output_.* | id2label | label2id | num_labels | problem_type | task_specific_params | prefix
  | finetuning_task | chunk_size_feed_forward | gradient_checkpointing | remove_invalid_values
  | (temperature|top_p|top_k|typical_p|repetition_penalty|length_penalty|do_sample|num_beams)
  | (max|min)_length | (no_repeat|encoder_no_repeat)_ngram_size | num_return_sequences
  | (bad_words|begin_suppress|suppress|forced_.*|exponential_decay).* | early_stopping
  | num_beam_groups | diversity_penalty | tf_legacy_loss | torchscript
  | (attn_implementation|attention_implementation|use_flash_attn|flash_attn|use_flash_attention.*)
  | (.*_)?(hidden_act|activation|activation_function|hidden_activation|act_fn)
  | .*(dropout|pdrop|drop_rate)(_.*)? | .*_(eps|epsilon) | .*(initializer|init)_.*
  | rope_.* | rotary_emb_base | rotary_base | global_rope_theta | local_rope_theta | .*_rope_theta
  | .*(loss|jitter).* | seq_aux | norm_topk_prob | scoring_func | topk_method | n_group | topk_group
  | num_expert_group | moe_renormalize | moe_router_activation_func | use_grouped_topk
  | .*(scaling_factor|scale_factor|softcap|softcapping|softcapping_value|_multiplier)
  | (logits|residual|embedding|attention|query_pre_attn)_(scaling|scale|scalar) | logit_scale
  | attention_value_scale | attn_temperature_.* | floor_scale | attn_scale
  | pretraining_tp | ep_size | bias_update_rate | quantization_config | compression_config
  | upcast_.* | scale_attn_.* | reorder_and_upcast_attn | swiglu_.* | hc_sinkhorn_iters
  | cache_implementation | initial_context_length | time_step_.* | ignore_index
  | (image|video)_(placeholder|seq_length) | mm_tokens_per_image
    """,
    re.VERBOSE,
)
VISION = re.compile(
    r"(num_heads|num_attention_heads|head_dim|image_size|window_size|fullatt_block_indexes)"
    r"|(tokens_per_second|spatial_patch_size|projection_dim|vocab_size|pooling_kernel_size)"
)
"""What towers have beside: their heads divide their width, and their windows store nothing."""

FOREIGN = {
    **dict.fromkeys(EXPERTS, "experts"),
    "kv_lora_rank": "latent attention",
    "mamba_d_state": "recurrent layers",
    "ssm_state_size": "recurrent layers",
    "linear_num_value_heads": "recurrent layers",
}
"""Fields of which each belongs to a part, which families without it do not read."""

SECTIONS = ("/rope_parameters/", "/rope_scaling/", "/quantization_config/")

WINDOWED = frozenset({"sliding_attention", "chunked_attention"})

MAX_HARMLESS = 100
"""Characters of the longest name looked at: on a long one the expression costs their square."""


@lru_cache(maxsize=1024)
def is_harmless(name: str) -> bool:
    """Say whether a field of this name bears on no size, whatever model has it."""
    return len(name) <= MAX_HARMLESS and HARMLESS.fullmatch(name) is not None


def matters(pointer: str) -> bool:
    """Say whether an unread field (by its JSON Pointer) may bear on a size."""
    above, _, name = pointer.rpartition("/")
    if is_harmless(name) or any(section in pointer for section in SECTIONS):
        return False
    return not (above.endswith("/vision_config") and VISION.fullmatch(name))


def contradictions(unread: Iterable[tuple[str, Any]], family: str) -> Iterator[str]:
    """Yield a warning for each unread field that tells of a part the family does not have.

    One expert is none: configs of dense models say so (Jamba's small ones).
    """
    for pointer, value in unread:
        above, _, name = pointer.rpartition("/")
        if above.endswith("/vision_config"):
            continue
        if name in FOREIGN and isinstance(value, int) and value > 1:
            yield (
                f"`{name}` = {show(value)} is not counted: a {family} has no {FOREIGN[name]}. If "
                f"the model has, its `model_type` is another one."
            )
        elif name == "layer_types" and not WINDOWED.isdisjoint(value):
            yield f"`layer_types` is not counted: a {family} reads no windows of layers from it."
