"""Tensors: their names, how they are divided, drafts, towers and rotary tables."""

from typing import Any

import pytest

from published import CONFIGS, llama
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import (
    Layer,
    Rotary,
)
from rackfit.architecture.parameters import count_parameters


def test_kimi_k3_joins_latent_experts_gates_and_residuals() -> None:
    """Kimi K3's switches add what its checkpoint holds beyond Kimi Linear's."""
    config = {
        **CONFIGS["moonshotai/Kimi-Linear-48B-A3B-Instruct"],
        "mla_use_output_gate": True,
        "attn_res_block_size": 12,
        "routed_expert_hidden_size": 1152,
        "latent_moe_use_norm": True,
    }
    config["linear_attn_config"] = {**config["linear_attn_config"], "use_full_rank_gate": True}
    architecture = read_config(config)
    ends = {t.name.removeprefix("model.layers.*.") for k in architecture.kinds for t in k.tensors}

    assert ends >= {
        "self_attn.g_proj.weight",
        "self_attention_res_norm.weight",
        "mlp_res_proj.weight",
        "block_sparse_moe.routed_expert_down_proj.weight",
        "block_sparse_moe.routed_expert_norm.weight",
    }
    assert "model.output_attn_res_norm.weight" in {t.name for t in architecture.outer}
    expert = next(t for t in architecture.layers[-1].tensors if "experts.*.w1" in t.name)
    assert (expert.copies, expert.shape) == (256, (1024, 1152))


def test_mimo_drafts_with_a_layer_of_its_own() -> None:
    """MiMo-7B appends one layer, joined by a projection, under names of its own."""
    config = {
        **CONFIGS["Qwen/Qwen2.5-7B-Instruct"],
        "model_type": "mimo",
        "num_nextn_predict_layers": 1,
    }
    architecture = read_config(config)

    assert architecture.draft_layers == 1
    assert "model.mtp_layers.0.input_proj.weight" in {t.name for t in architecture.draft}
    assert "model.mtp_layers.0.self_attn.q_proj.weight" in {t.name for t in architecture.draft}


def test_hash_routed_layers_keep_a_table_that_is_no_parameter() -> None:
    """V4's first layers choose experts by a stored table, which is a buffer."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V4-Pro"])
    tables = [[t for t in layer.tensors if "tid2eid" in t.name] for layer in architecture.layers]

    assert [len(t) for t in tables[:4]] == [1, 1, 1, 0]
    assert tables[0][0].buffer
    assert tables[0][0].shape == (129_280, 6)


def test_draft_is_apart_and_numbered_behind_the_layers() -> None:
    """Multi-token-prediction layers stand in the draft alone, named by their own number."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V3"])

    assert architecture.draft_layers == 1
    assert {t.component for t in architecture.draft} == {"draft"}
    assert all(t.name.startswith("model.layers.61.") for t in architecture.draft)
    assert "model.layers.61.eh_proj.weight" in {t.name for t in architecture.draft}


def test_draft_of_deepseek_v3_is_the_checkpoints_less_its_copies() -> None:
    """The repository holds 684.5 B: the main model, the draft and copies of embedding and head."""
    counted = count_parameters(read_config(CONFIGS["deepseek-ai/DeepSeek-V3"]))

    assert counted.total + counted.draft + counted.embedding + counted.head == 684_489_830_400


def names(model: str) -> set[str]:
    """Return the tensor names of a model."""
    architecture = read_config(CONFIGS[model])
    tensors = [t for kind in architecture.kinds for t in kind.tensors]
    return {t.name for t in (*tensors, *architecture.outer)}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("deepseek-ai/DeepSeek-V3", "model.layers.*.mlp.experts.*.gate_proj.weight"),
        ("deepseek-ai/DeepSeek-V4-Pro", "layers.*.attn.indexer.compressor.wkv.weight"),
        ("deepseek-ai/DeepSeek-V4-Pro", "layers.*.ffn.experts.*.w1.weight"),
        ("google/gemma-4-26B-A4B", "model.language_model.layers.*.experts.gate_up_proj"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "language_model.lm_head.weight"),
        ("MiniMaxAI/MiniMax-M2.5", "model.layers.*.block_sparse_moe.gate.weight"),
        ("mistralai/Mixtral-8x7B-v0.1", "model.layers.*.block_sparse_moe.experts.*.w1.weight"),
        ("moonshotai/Kimi-K2.5", "language_model.model.layers.*.mlp.gate.weight"),
        ("moonshotai/Kimi-K2.5", "vision_tower.encoder.blocks.*.wqkv.weight"),
        ("nvidia/Nemotron-H-56B-Base-8K", "backbone.layers.*.mixer.in_proj.weight"),
        ("openai/gpt-oss-120b", "model.layers.*.mlp.experts.gate_up_proj"),
        ("Qwen/Qwen3.5-397B-A17B", "model.language_model.layers.*.linear_attn.in_proj_qkv.weight"),
        ("Qwen/Qwen3-VL-8B-Instruct", "model.visual.deepstack_merger_list.*.norm.weight"),
        ("stepfun-ai/Step-3.7-Flash", "model.layers.*.moe.router_bias"),
    ],
)
def test_tensors_are_named_as_in_the_checkpoint(model: str, name: str) -> None:
    """Names are the published checkpoint's, because lists of unquantized modules match them."""
    assert name in names(model)


def test_config_without_a_vision_section_has_no_tower() -> None:
    """Taking the vision section away takes the tower away and nothing else."""
    config = dict(CONFIGS["moonshotai/Kimi-K2.5"])
    whole = count_parameters(read_config(config))
    del config["vision_config"]
    text = count_parameters(read_config(config))

    assert (whole.vision > 0, text.vision) == (True, 0)
    assert whole.total - whole.vision == text.total


@pytest.mark.parametrize(
    ("changes", "rotary"),
    [
        ({}, Rotary(positions=4096, width=8)),
        ({"rope_scaling": {"type": "linear", "factor": 8.0}}, Rotary(positions=32_768, width=8)),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, Rotary(positions=4096, width=8)),
        (
            {
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 2048,
                }
            },
            Rotary(positions=8192, width=8),
        ),
        (
            {"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 1024}},
            Rotary(positions=4096 + 1024, width=8),
        ),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, Rotary(positions=4096, width=4)),
        ({"partial_rotary_factor": 0.25}, Rotary(positions=4096, width=2)),
        ({"rotary_dim": 6, "partial_rotary_factor": 0.25}, Rotary(positions=4096, width=6)),
        ({"rope_scaling": {"mrope_section": [2, 1, 1]}}, Rotary(positions=16_384, width=8)),
    ],
)
def test_rotary_table_is_the_engines(changes: dict[str, Any], rotary: Rotary) -> None:
    """A table covers the context, or what linear, YaRN, long or multimodal RoPE stretch it to."""
    assert llama(**changes).rotaries == (rotary,)


def test_gemma3_keeps_a_table_for_each_kind_of_layer() -> None:
    """Gemma 3's full layers use a scaled table and its sliding layers a plain one."""
    config = {
        **CONFIGS["google/gemma-3-4b-it"],
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }

    assert read_config(config).rotaries == (
        Rotary(positions=8 * 131_072, width=256),
        Rotary(positions=131_072, width=256),
    )


def shards(layer: Layer) -> dict[str, str]:
    """Return how each tensor of a layer is divided, by the end of its name."""
    return {t.name.removeprefix("model.layers.*."): t.shard for t in layer.tensors}


def test_latent_down_projections_are_whole_on_every_rank() -> None:
    """Tensor parallelism divides latent attention by heads and never its latents."""
    shard = shards(read_config(CONFIGS["deepseek-ai/DeepSeek-V3.2"]).kinds[0])

    assert shard["self_attn.q_a_proj.weight"] == "replicated"
    assert shard["self_attn.kv_a_proj_with_mqa.weight"] == "replicated"
    assert shard["self_attn.indexer.wq_b.weight"] == "replicated"
    assert shard["self_attn.q_b_proj.weight"] == "heads"
    assert shard["self_attn.kv_b_proj.weight"] == "heads"
    assert shard["self_attn.o_proj.weight"] == "attention_output"


def test_bias_of_a_summed_output_is_whole_on_every_rank() -> None:
    """An output projection's bias is added once, so it is not divided as its matrix is."""
    shard = shards(llama(attention_bias=True).kinds[0])

    assert shard["self_attn.q_proj.bias"] == "heads"
    assert shard["self_attn.k_proj.bias"] == "kv_heads"
    assert shard["self_attn.o_proj.bias"] == "replicated"


@pytest.mark.parametrize("model", sorted(CONFIGS))
def test_tensor_names_are_distinct(model: str) -> None:
    """Within a layer, and outside the layers, no two tensors share a name."""
    architecture = read_config(CONFIGS[model])
    groups = [*(kind.tensors for kind in architecture.kinds), architecture.outer]
    groups.append(architecture.draft)

    for group in groups:
        assert len({t.name for t in group}) == len(group)
