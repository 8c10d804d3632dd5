"""Reading a config.json: what is refused and how, and what an architecture says."""

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackfit.architecture.huggingface import known_families, read_config
from rackfit.architecture.model import (
    Architecture,
    CompressedAttention,
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Layer,
    RecurrentAttention,
    Rotary,
)
from rackfit.architecture.parameters import count_parameters
from rackfit.errors import InvalidInput

TRUTH = Path(__file__).parents[1] / "truth" / "data"
CONFIGS: dict[str, Any] = {
    name: model["config"]
    for file in ("parameters_more.json", "parameters.json")
    for name, model in json.loads((TRUTH / file).read_text()).items()
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}


def llama(**changes: object) -> Architecture:
    """Read a small Llama with some fields changed."""
    return read_config({**LLAMA, **changes})


def attentions(architecture: Architecture) -> list[object]:
    """Return each layer's attention from first to last."""
    return [layer.attention for layer in architecture.layers]


def refusals(config: dict[str, Any]) -> list[str]:
    """Return the pointers a config is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read_config(config)
    return [v.pointer for v in caught.value.violations]


def test_unknown_family_is_named_with_the_closest_and_all_known() -> None:
    """An unknown model_type is named, close ones are offered and all known ones listed."""
    with pytest.raises(InvalidInput) as caught:
        read_config({"model_type": "lama"})

    (violation,) = caught.value.violations
    assert violation.pointer == "/model/config/model_type"
    assert violation.detail.startswith("There is no reader for model_type 'lama'. The closest")
    assert all(family in violation.detail for family in known_families())


@pytest.mark.parametrize("model_type", [None, 7, ["llama"], "", {}])
def test_model_type_of_another_kind_is_refused(model_type: object) -> None:
    """A missing or mistyped model_type is refused at its pointer."""
    assert refusals({**LLAMA, "model_type": model_type}) == ["/model/config/model_type"]


def test_pointer_says_where_the_config_stands() -> None:
    """Errors point into the request the config came in."""
    with pytest.raises(InvalidInput) as caught:
        read_config({**LLAMA, "hidden_size": 0}, pointer="/questions/3/model/config")

    assert caught.value.violations[0].pointer == "/questions/3/model/config/hidden_size"


def test_all_missing_fields_are_reported_together() -> None:
    """One answer names every field that is missing."""
    fields = ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"]
    fields += ["num_attention_heads", "intermediate_size"]

    assert refusals({"model_type": "llama"}) == [f"/model/config/{name}" for name in fields]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_hidden_layers": 10_001}, "num_hidden_layers"),
        ({"hidden_size": (1 << 26) + 1}, "hidden_size"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"num_attention_heads": 7}, "num_key_value_heads"),
        ({"hidden_size": 66}, "num_attention_heads"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ({"rope_scaling": [1]}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "rope_scaling/factor"),
        ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "layer_types"),
        ({"model_type": "mixtral", "num_local_experts": 65_537}, "num_local_experts"),
    ],
)
def test_wrong_field_is_pointed_to(changes: dict[str, Any], field: str) -> None:
    """Absurd sizes, heads that do not divide and patterns of the wrong length are refused."""
    config = {**LLAMA, "num_experts_per_tok": 1, "num_local_experts": 2, **changes}

    assert f"/model/config/{field}" in refusals(config)


def test_fields_of_a_wrapped_model_are_pointed_to_where_they_stand() -> None:
    """Errors within text_config and vision_config point into them."""
    config = copy.deepcopy(CONFIGS["Qwen/Qwen3-VL-8B-Instruct"])
    config["text_config"]["vocab_size"] = "many"
    config["vision_config"]["depth"] = 0

    assert refusals(config) == [
        "/model/config/text_config/vocab_size",
        "/model/config/vision_config/depth",
    ]


def test_more_experts_active_than_there_are_is_refused() -> None:
    """A token cannot use more experts than the model has."""
    config = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 5}

    assert refusals(config) == ["/model/config/num_experts_per_tok"]


def test_name_is_the_configs_first_architecture() -> None:
    """An architecture is named as the config names it, else by its model_type."""
    assert llama().name == "LlamaForCausalLM"
    assert llama(architectures=None).name == "llama"


def test_unknown_activation_and_unheard_fields_are_fine() -> None:
    """Fields that do not bear on sizes are not judged."""
    assert llama(hidden_act="swish-o-matic", new_field={"a": [1]}) == llama()


def test_plain_types() -> None:
    """The checkpoint's 16-bit type is read under either name; bf16 is the default."""
    assert llama().dtype == "bf16"
    assert llama(torch_dtype="float16").dtype == "f16"
    assert llama(dtype="torch.bfloat16").dtype == "bf16"


def test_equal_layers_are_one_kind() -> None:
    """Layers that are the same stand once; the order says which layer is which."""
    architecture = read_config(CONFIGS["google/gemma-2-2b-it"])

    assert len(architecture.kinds) == 2
    assert architecture.order == (0, 1) * 13


def test_sliding_layers_have_a_window() -> None:
    """Gemma 3 has five sliding layers before each full one."""
    windows = [
        a.window
        for a in attentions(read_config(CONFIGS["google/gemma-3-4b-it"]))
        if isinstance(a, GroupedAttention)
    ]

    assert windows[:6] == [1024] * 5 + [None]
    assert len(windows) == 34
    assert windows.count(None) == 5


def test_latent_attention_keeps_one_row_a_token() -> None:
    """DeepSeek-V3 caches a latent of 512 and a rotary part of 64 for all heads together."""
    kind = read_config(CONFIGS["deepseek-ai/DeepSeek-V3"]).kinds[0]

    assert kind.attention == LatentAttention(
        heads=128, latent_width=512, rope_width=64, nope_width=128, value_width=128
    )


def test_sparse_attention_has_an_indexer() -> None:
    """DeepSeek-V3.2's layers each keep an indexer key of 128 and read 2048 rows."""
    kind = read_config(CONFIGS["deepseek-ai/DeepSeek-V3.2"]).kinds[0]

    assert isinstance(kind.attention, LatentAttention)
    assert kind.attention.indexer == Indexer(heads=64, width=128, top_k=2048)
    assert kind.attention.top_k == 2048


def test_shared_indexers_have_no_tensors_of_their_own() -> None:
    """A layer that reads the rows an earlier layer chose has no indexer, in cache or weights."""
    config = {**CONFIGS["zai-org/GLM-5"], "indexer_types": ["full", "shared"] * 39}
    full, shared = read_config(config).layers[4:6]

    assert isinstance(shared.attention, LatentAttention)
    assert (shared.attention.indexer, shared.attention.top_k) == (None, 2048)
    assert any(".indexer." in t.name for t in full.tensors)
    assert not any(".indexer." in t.name for t in shared.tensors)


def test_indexers_are_shared_on_a_schedule_where_no_list_says_so() -> None:
    """Every fourth layer has an indexer of its own, and so have the first ones (GLM-5.2)."""
    config = dict(CONFIGS["zai-org/GLM-5.3"])
    listed = [t == "full" for t in config.pop("indexer_types")]
    layers = read_config(config).layers

    assert listed == [any(".indexer." in t.name for t in layer.tensors) for layer in layers]


def test_block_sparse_attention_keeps_index_keys() -> None:
    """MiniMax M3's layers behind the first three keep an index key of 128 and read 2048 rows."""
    layers = read_config(CONFIGS["nvidia/MiniMax-M3-NVFP4"]).layers
    indexers = [a.attention.indexer for a in layers if isinstance(a.attention, GroupedAttention)]

    assert indexers == [None] * 3 + [Indexer(heads=4, width=128, top_k=2048)] * 57


def test_values_may_be_narrower_than_keys() -> None:
    """MiMo-V2-Flash caches keys of 192 and values of 128, of twice the heads where it slides."""
    full, sliding = read_config(CONFIGS["XiaomiMiMo/MiMo-V2-Flash"]).layers[:2]

    assert full.attention == GroupedAttention(heads=64, kv_heads=4, key_width=192, value_width=128)
    assert sliding.attention == GroupedAttention(
        heads=64, kv_heads=8, key_width=192, value_width=128, window=128
    )


def test_layers_that_a_search_left_out_have_no_tensors() -> None:
    """A thinned Llama's layers lose attention, feed-forward or both, or keep a plain matrix."""
    whole = {"n_heads_in_group": 4}
    blocks = [
        {"attention": whole, "ffn": {"ffn_mult": 3.0}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 3.0}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": whole, "ffn": {"replace_with_linear": True}},
    ]
    first, second, third, fourth = llama(model_type="nemotron-nas", block_configs=blocks).layers

    assert first.attention == GroupedAttention(heads=8, kv_heads=2, key_width=8, value_width=8)
    assert first.feed_forward == DenseFeedForward(width=256)
    assert (second.attention, second.feed_forward) == (None, first.feed_forward)
    assert (third.attention, third.feed_forward) == (None, None)
    assert [t.shape for t in third.tensors] == [(64, 64), (64,)]
    assert (fourth.attention, fourth.feed_forward) == (first.attention, None)


def test_numbers_repeated_for_every_layer_are_read_once() -> None:
    """Hunyuan's configs may hold a list where one number would do; unlike ones are refused."""
    config = CONFIGS["tencent/Hunyuan-A13B-Instruct"]
    listed = {**config, "moe_topk": [8] * 32, "num_shared_expert": [1] * 32}

    assert read_config(listed) == read_config(config)
    assert refusals({**listed, "moe_topk": [8, 4]}) == ["/model/config/moe_topk"]


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


def test_compressed_attention_of_the_published_v4_pro() -> None:
    """V4-Pro's layers compress by 128 or, with an indexer, by 4, beside a window of 128."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V4-Pro"])
    indexer = Indexer(heads=64, width=128, top_k=1024)
    by_four = CompressedAttention(
        heads=128, row_width=512, rope_width=64, window=128, ratio=4, indexer=indexer
    )
    by_many = msgspec.structs.replace(by_four, ratio=128, indexer=None)

    assert attentions(architecture)[2:4] == [by_four, by_many]
    assert architecture.experts == ExpertFeedForward(
        experts=384, active=6, width=3072, shared_width=3072
    )


def test_hash_routed_layers_keep_a_table_that_is_no_parameter() -> None:
    """V4's first layers choose experts by a stored table, which is a buffer."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V4-Pro"])
    tables = [[t for t in layer.tensors if "tid2eid" in t.name] for layer in architecture.layers]

    assert [len(t) for t in tables[:4]] == [1, 1, 1, 0]
    assert tables[0][0].buffer
    assert tables[0][0].shape == (129_280, 6)


def test_recurrent_layers_keep_a_state_per_sequence() -> None:
    """Qwen3.5's delta nets keep a convolution's tail and one f32 matrix a value head."""
    kinds = read_config(CONFIGS["Qwen/Qwen3.5-397B-A17B"]).kinds

    assert kinds[0].attention == RecurrentAttention(
        heads=16,
        convolution_elements=(2 * 16 * 128 + 64 * 128) * 3,
        state_elements=64 * 128 * 128,
        state_dtype="f32",
    )


def test_single_mixer_layers_lack_the_other_half() -> None:
    """A Nemotron-H layer is attention, Mamba, a mixture or a feed-forward, and nothing else."""
    architecture = read_config(CONFIGS["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"])
    halves = [(k.attention is None, k.feed_forward is None) for k in architecture.kinds]

    assert architecture.kind_counts == (23, 23, 6)
    assert halves == [(False, True), (True, False), (False, True)]


def test_shared_caches_are_marked() -> None:
    """Gemma 4's last layers read an earlier layer's cache and have no keys of their own."""
    config = copy.deepcopy(CONFIGS["google/gemma-4-26B-A4B"])
    config["text_config"]["num_kv_shared_layers"] = 6
    last = read_config(config).layers[-1]

    assert isinstance(last.attention, GroupedAttention)
    assert last.attention.shares_cache
    assert not any("k_proj" in t.name or "v_proj" in t.name for t in last.tensors)


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
    assert shard["self_attn.o_proj.weight"] == "heads"


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


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70_000)
    | st.floats()
    | st.sampled_from(["full_attention", "sliding_attention", "MEM*", "yarn", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def read_or_refuse(config: dict[str, Any]) -> Architecture | InvalidInput:
    """Read a config; a refusal is a value here."""
    try:
        return read_config(config)
    except InvalidInput as error:
        return error


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutated_configs_are_read_or_refused(data: st.DataObject) -> None:
    """Whatever stands in a config, reading it raises InvalidInput or counts nothing negative."""
    config = copy.deepcopy(CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    nested = [config, *(v for v in config.values() if isinstance(v, dict))]
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(st.sampled_from(nested))
        field = data.draw(st.sampled_from(sorted(target)) if target else st.text())
        target[field] = data.draw(JSON)
        if data.draw(st.booleans()):
            del target[field]
    read = read_or_refuse(config)
    if isinstance(read, InvalidInput):
        assert read.violations
        assert all(v.pointer.startswith("/model/config/") for v in read.violations)
        return
    tensors = [t for k in read.kinds for t in k.tensors]
    assert all(t.elements > 0 for t in (*tensors, *read.outer, *read.draft))
    assert count_parameters(read).active >= 0
