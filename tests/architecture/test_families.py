"""Families that the transformers library cannot measure, or whose layers are no plain stack.

Totals are those their makers publish.
"""

from typing import Any

import pytest

from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import (
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.architecture.parameters import count_parameters
from rackfit.errors import InvalidInput

LONGCAT: dict[str, Any] = {
    "model_type": "longcat_flash",
    "vocab_size": 131_072,
    "hidden_size": 6144,
    "num_layers": 28,
    "num_attention_heads": 64,
    "max_position_embeddings": 131_072,
    "ffn_hidden_size": 12_288,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "moe_topk": 12,
    "n_routed_experts": 512,
    "zero_expert_num": 256,
    "expert_ffn_hidden_size": 2048,
}
LING: dict[str, Any] = {
    "model_type": "bailing_moe_v2",
    "vocab_size": 157_184,
    "hidden_size": 2048,
    "num_hidden_layers": 20,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "num_experts": 256,
    "num_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 1,
    "use_qk_norm": True,
    "moe_router_enable_expert_bias": True,
}
ARCTIC: dict[str, Any] = {
    "model_type": "arctic",
    "vocab_size": 32_000,
    "hidden_size": 7168,
    "intermediate_size": 4864,
    "num_hidden_layers": 35,
    "num_attention_heads": 56,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "num_local_experts": 128,
    "num_experts_per_tok": 2,
    "moe_layer_frequency": 1,
    "use_residual": True,
    "parallel_attn_mlp_res": True,
}
FALCON: dict[str, Any] = {
    "model_type": "falcon_h1",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "mamba_d_ssm": 128,
    "mamba_n_heads": 8,
    "mamba_d_state": 16,
}


def test_ling_mini_counts_what_its_card_prints() -> None:
    """Ling-mini-2.0: 16.26 B, 1.43 B active, of them 789 M besides embedding and head."""
    parameters = count_parameters(read_config(LING))

    assert round(parameters.total / 1e9, 2) == 16.26
    assert round(parameters.active / 1e9, 2) == 1.43
    assert round((parameters.active - parameters.embedding - parameters.head) / 1e6) == 789


def test_arctic_has_a_dense_model_beside_its_experts() -> None:
    """Its card: 10 B dense beside 128 experts of 3.66 B; 480 B in all, 17 B active."""
    parameters = count_parameters(read_config(ARCTIC))
    rest = parameters.total - parameters.routed_experts

    assert (480, 17) == (round(parameters.total / 1e10) * 10, round(parameters.active / 1e9))
    assert 3.66 == round(parameters.routed_experts / 128 / 1e9, 2)
    assert 10 == round(rest / 1e9)
    assert parameters.dense_feed_forward == 35 * 3 * 7168 * 7168


def test_arctic_without_a_residual_has_mixtures_among_dense_layers() -> None:
    """Every so many layers, counted from the end of the first."""
    off = {"use_residual": False, "parallel_attn_mlp_res": False}
    fields = {**ARCTIC, **off, "moe_layer_frequency": 2, "num_hidden_layers": 5}
    architecture = read_config(fields)

    assert architecture.order == (0, 1, 0, 1, 0)
    dense, mixture = (kind.feed_forward for kind in architecture.kinds)
    assert isinstance(dense, DenseFeedForward)
    assert isinstance(mixture, ExpertFeedForward)
    assert (4864, 0) == (dense.width, mixture.dense_width)


def test_longcat_has_experts_of_its_own_and_idle_ones() -> None:
    """560 B parameters; idle experts widen the router and weigh nothing else."""
    idle = count_parameters(read_config(LONGCAT))
    none = count_parameters(read_config({**LONGCAT, "zero_expert_num": 0}))

    assert round(idle.total / 1e9) == 561
    assert idle.total - none.total == idle.router - none.router == 28 * 256 * 6144


def test_each_half_of_a_longcat_block_is_a_layer() -> None:
    """Two attentions a block keep a cache each; the first half has the mixture."""
    architecture = read_config(LONGCAT)
    first, second = architecture.kinds

    assert architecture.order == (0, 1) * 28
    assert isinstance(first.attention, LatentAttention)
    assert isinstance(first.feed_forward, ExpertFeedForward)
    assert first.feed_forward.dense_width == 12_288
    assert isinstance(second.feed_forward, DenseFeedForward)


def test_longcat_refuses_a_head_width_that_contradicts_its_parts() -> None:
    """A query is as wide as its two parts together."""
    with pytest.raises(InvalidInput) as caught:
        read_config({**LONGCAT, "qk_head_dim": 128})

    (violation,) = caught.value.violations
    assert violation.pointer == "/model/config/qk_head_dim"
    assert violation.detail.endswith("= 192.")


def test_falcon_h1_remembers_twice_in_a_layer() -> None:
    """Attention and Mamba run abreast: a cache row a token, and a state a sequence."""
    architecture = read_config(FALCON)
    attention, mamba = (kind.attention for kind in architecture.kinds)

    assert architecture.order == (0, 1) * 3
    assert isinstance(attention, GroupedAttention)
    assert mamba == RecurrentAttention(
        heads=8,
        convolution_elements=(128 + 2 * 16) * 3,
        state_elements=128 * 16,
        state_dtype="bf16",
    )


def test_jamba_attends_once_in_a_period() -> None:
    """Every eighth layer attends, every second is a mixture; Mamba keeps one state a channel."""
    architecture = read_config(
        {
            "model_type": "jamba",
            "vocab_size": 1000,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 16,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
        }
    )
    attends = [isinstance(layer.attention, GroupedAttention) for layer in architecture.layers]
    mixes = [isinstance(layer.feed_forward, ExpertFeedForward) for layer in architecture.layers]

    assert [i for i, full in enumerate(attends) if full] == [4, 12]
    assert [i for i, sparse in enumerate(mixes) if sparse] == list(range(1, 16, 2))
    assert architecture.kinds[0].attention == RecurrentAttention(
        heads=128, convolution_elements=128 * 3, state_elements=128 * 16
    )


@pytest.mark.parametrize(
    ("family", "kv_heads", "more"),
    [
        ("qwen2", 32, {}),
        ("qwen3", 32, {}),
        ("stablelm", 32, {}),
        ("exaone4", 32, {}),
        ("qwen2_vl_text", 8, {}),
        ("llama", 64, {}),
        (
            "qwen2_moe",
            16,
            {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
        ),
    ],
)
def test_heads_that_a_config_leaves_out_are_those_of_its_class(
    family: str, kv_heads: int, more: dict[str, Any]
) -> None:
    """Some classes of transformers repeat a number of their own, others have one for each head."""
    config = {
        "model_type": family,
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_attention_heads": 64,
        "head_dim": 16,
        "num_hidden_layers": 1,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
        **more,
    }
    said = read_config(config | {"num_key_value_heads": kv_heads})

    assert said == read_config(config)


def test_bloom_spells_its_width_in_two_ways() -> None:
    """`n_embed` in the published configs; bloom-560m has 559,214,592 parameters."""
    config = {
        "model_type": "bloom",
        "n_layer": 24,
        "num_attention_heads": 16,
        "seq_length": 2048,
        "vocab_size": 250_880,
        "n_inner": None,
        "offset_alibi": 100,
    }
    for width in ("n_embed", "hidden_size"):
        assert 559_214_592 == count_parameters(read_config({**config, width: 1024})).total


@pytest.mark.parametrize("name", ["minimax_text_01", "minimax_m1"])
def test_minimaxs_own_names_are_read_as_the_librarys(name: str) -> None:
    """The first repositories had model types of their own for the same fields."""
    config = {
        "hidden_size": 6144,
        "intermediate_size": 9216,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_hidden_layers": 80,
        "num_local_experts": 32,
        "num_experts_per_tok": 2,
        "vocab_size": 200_064,
        "max_position_embeddings": 10_240_000,
        "attn_type_list": [int(layer % 8 == 7) for layer in range(80)],
    }
    found = read_config({**config, "model_type": name})
    library = read_config({**config, "model_type": "minimax"})

    assert (found.kinds, found.order, found.outer) == (library.kinds, library.order, library.outer)
    assert 456 == round(count_parameters(found).total / 1e9)
