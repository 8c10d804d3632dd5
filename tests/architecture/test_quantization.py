"""What a checkpoint stores by methods of one scheme, read from excerpts of published configs."""

import pytest

from checkpoints import (
    BIAS,
    CORRECTION,
    DENSE,
    DRAFT_EXPERT,
    DRAFT_JOIN,
    DRAFT_OUTPUT,
    DRAFT_ROUTER,
    EMBEDDING,
    EXPERT,
    HEAD,
    LAYERS,
    NORM,
    O_PROJ,
    Q_PROJ,
    ROUTER,
    SCHEMES,
    SECTION,
    SHARED,
    VISION,
    matrix,
    read,
    refusal,
    schemes,
)
from rackfit.architecture.model import Tensor
from rackfit.architecture.quantization import methods, read_quantization, stored_bytes
from rackfit.errors import InvalidInput


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"torch_dtype": "float16"}, "f16"),
        ({"dtype": "float32"}, "f32"),
        ({"text_config": {"dtype": "float16"}}, "f16"),
        ({}, "bf16"),
    ],
)
def test_without_a_section_all_is_plain(config: dict[str, object], dtype: str) -> None:
    """Every tensor has the config's type (bf16 where it names none), in every layer alike."""
    stored = read_quantization(config)
    assert [dtype, dtype, dtype] == schemes(stored, Q_PROJ, EMBEDDING, NORM)
    assert not stored.layer_dependent


def test_a_wrappers_type_is_refused_where_none_holds_weights_in_it() -> None:
    """What is not quantized has the outermost type; a section's own does not hide a wrong one."""
    config = {"torch_dtype": "bananas", "text_config": {"dtype": "bfloat16"}}
    with pytest.raises(InvalidInput) as refused:
        read_quantization(config)
    assert ["/model/config/torch_dtype"] == [v.pointer for v in refused.value.violations]


def test_a_tensors_own_type_wins() -> None:
    """A buffer stored in f32 stays so, whatever the plain type and the lists say."""
    assert ["f32"] == schemes(read(), CORRECTION)


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}
DEEPSEEK_V3 = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [128, 128],
}


def test_fp8_by_tile_converts_the_decoders_linear_layers() -> None:
    """DeepSeek-V3: attention, dense, routed and shared experts are FP8, the rest bf16.

    A vision tower's linear layers would be as well, were there one that nothing leaves out.
    """
    stored = read(DEEPSEEK_V3)
    assert ["fp8-block"] * 6 == schemes(stored, Q_PROJ, O_PROJ, DENSE, EXPERT, SHARED, VISION)
    plain = (ROUTER, HEAD, EMBEDDING, NORM, BIAS)
    assert ["bf16"] * len(plain) == schemes(stored, *plain)


def test_fp8_leaves_a_drafts_router_and_joining_projection_plain() -> None:
    """DeepSeek-V3's layer 61: experts and output are FP8, router and eh_proj are not."""
    stored = read(DEEPSEEK_V3)
    assert ["fp8-block", "fp8-block"] == schemes(stored, DRAFT_EXPERT, DRAFT_OUTPUT)
    assert ["bf16", "bf16"] == schemes(stored, DRAFT_ROUTER, DRAFT_JOIN)


@pytest.mark.parametrize(
    ("more", "scheme"),
    [
        ({"activation_scheme": "static"}, "fp8"),
        ({"activation_scheme": "dynamic"}, "fp8"),
        ({"weight_block_size": None}, "fp8"),
        ({"weight_block_size": [1, 32]}, "mxfp8"),
    ],
)
def test_fp8_without_tiles_has_one_scale_a_tensor(more: dict[str, object], scheme: str) -> None:
    """Without tiles of 128 x 128 FP8 is per tensor; tiles of 1 x 32 are MXFP8."""
    assert [scheme] == schemes(read({"quant_method": "fp8", **more}), Q_PROJ)


def test_a_short_name_means_whole_segments() -> None:
    """MiniMax-M2.5 keeps every module called `gate`, and not gate_proj."""
    kept = ["gate", "e_score_correction_bias", "lm_head"]
    stored = read({**DEEPSEEK_V3, "modules_to_not_convert": kept})
    gate_proj = matrix("model.layers.*.mlp.gate_proj.weight", "dense_feed_forward")
    gate = matrix("model.layers.*.self_attn.gate.weight")
    assert ["fp8-block", "bf16"] == schemes(stored, gate_proj, gate)


def test_a_list_of_every_layer_does_not_depend_on_the_layer() -> None:
    """Qwen3-235B-FP8 lists each layer's router: one rule, and the draft is not in it."""
    names = [f"model.layers.{i}.self_attn.o_proj" for i in range(LAYERS)]
    stored = read({**DEEPSEEK_V3, "modules_to_not_convert": names})
    assert not stored.layer_dependent
    assert ["fp8-block", "bf16", "fp8-block"] == schemes(stored, Q_PROJ, O_PROJ, DRAFT_OUTPUT)


def test_first_and_last_layers_kept_plain_make_the_answer_depend_on_the_layer() -> None:
    """Llama-3.1-405B-FP8 keeps whole projections of some layers in 16 bits."""
    names = ["model.layers.0.self_attn.q_proj", "model.layers.60.self_attn.q_proj"]
    stored = read({"quant_method": "fbgemm_fp8", "modules_to_not_convert": names})
    assert stored.layer_dependent
    by_layer = [stored.scheme_of(Q_PROJ, layer) for layer in (0, 1, 59, 60)]
    assert ["bf16", "fp8-channel", "fp8-channel", "bf16"] == by_layer
    assert ["fp8-channel"] == schemes(stored, O_PROJ, layer=0)


def test_ignored_layers_are_read_as_modules_to_not_convert() -> None:
    """Either field keeps modules in the plain type."""
    stored = read({**DEEPSEEK_V3, "ignored_layers": ["model.layers.*.self_attn.q_proj"]})
    assert ["bf16", "fp8-block"] == schemes(stored, Q_PROJ, O_PROJ)


def test_deepseek_v4_stores_routed_experts_in_mxfp4() -> None:
    """`expert_dtype` fp4 is MXFP4 for routed experts, the draft's too; the rest is FP8."""
    stored = read(DEEPSEEK_V3, expert_dtype="fp4")
    attention = matrix("layers.*.attn.wq_a.weight")
    routed = matrix("layers.*.ffn.experts.*.w1.weight", "routed_experts")
    shared = matrix("layers.*.ffn.shared_experts.w1.weight", "shared_experts")
    draft = matrix("mtp.0.ffn.experts.*.w1.weight", "draft")
    tensors = (attention, routed, shared, draft)
    assert ["fp8-block", "mxfp4", "fp8-block", "mxfp4"] == schemes(stored, *tensors)


def test_an_unknown_expert_type_is_refused() -> None:
    """The error points at `expert_dtype` and names the known types."""
    pointer, detail = refusal(DEEPSEEK_V3, expert_dtype="fp3")
    assert pointer == "/model/config/expert_dtype"
    assert "'fp3'" in detail
    assert "fp4" in detail


def test_tables_of_model_optimizer_lie_on_top_of_fp8() -> None:
    """DeepSeek-V4-Pro-NVFP4: the main model's experts are NVFP4, the draft's stay MXFP4."""
    section = {
        **DEEPSEEK_V3,
        "quant_algo": "MIXED_PRECISION",
        "moe_quant_algo": "NVFP4",
        "ignore": ["*.attn.*", "*.ffn.shared_experts.*", "head", "mtp.*"],
        "quantized_layers": {
            f"layers.{i}.ffn.experts": {"group_size": 16, "quant_algo": "NVFP4"}
            for i in range(LAYERS)
        },
    }
    stored = read(section, expert_dtype="fp4")
    attention = matrix("layers.*.attn.wq_a.weight")
    routed = matrix("layers.*.ffn.experts.*.w1.weight", "routed_experts")
    draft = matrix("mtp.0.ffn.experts.*.w1.weight", "draft")
    assert ["fp8-block", "nvfp4", "mxfp4"] == schemes(stored, attention, routed, draft)
    assert not stored.layer_dependent


@pytest.mark.parametrize(
    ("section", "scheme"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq-int4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq-int4-channel"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "gptq-int8"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, "gptq-int8-g32"),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, "gptq-int3"),
        (
            {"quant_method": "gptq", "bits": 2, "group_size": 64, "desc_act": True},
            "gptq-int2-g64-ordered",
        ),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, "awq-int4"),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq-int4-g64"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb-nf4-single"),
        ({"load_in_4bit": True}, "bnb-nf4-single"),
        ({"quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": True}, "bnb-nf4"),
    ],
)
def test_methods_of_one_scheme(section: dict[str, object], scheme: str) -> None:
    """Bits and group size choose the scheme; head, router and embedding stay plain."""
    stored = read(section)
    assert [scheme] * 3 == schemes(stored, Q_PROJ, DENSE, EXPERT)
    assert ["bf16"] * 4 == schemes(stored, HEAD, ROUTER, EMBEDDING, NORM)


def test_gptq_may_convert_the_head_and_vary_by_module() -> None:
    """`lm_head` takes the head in; `dynamic` excludes modules or gives them other bits."""
    section = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 128,
        "lm_head": True,
        "dynamic": {r"-:.*shared_experts.*": {}, r"+:.*\.q_proj": {"bits": 8}},
    }
    tensors = (HEAD, SHARED, Q_PROJ, O_PROJ)
    expected = ["gptq-int4", "bf16", "gptq-int8", "gptq-int4"]
    assert expected == schemes(read(section), *tensors)


def test_bits_without_a_scheme_are_refused() -> None:
    """Five-bit GPTQ points at `bits` and lists what is known."""
    pointer, detail = refusal({"quant_method": "gptq", "bits": 5, "group_size": 128})
    assert pointer == f"{SECTION}/bits"
    assert "bits = 5. Known: 4" in detail


def test_gpt_oss_converts_routed_experts_alone() -> None:
    """MXFP4 leaves attention, router, embedding, head and the experts' biases in bf16."""
    section = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
    }
    stored = read(section)
    experts = matrix("model.layers.*.mlp.experts.gate_up_proj", "routed_experts", copies=32)
    bias = Tensor(
        name="model.layers.*.mlp.experts.gate_up_proj_bias",
        shape=(512,),
        component="routed_experts",
        copies=32,
    )
    assert ["mxfp4", "bf16", "bf16", "bf16"] == schemes(stored, experts, bias, Q_PROJ, HEAD)
    assert not stored.layer_dependent


def test_bitsandbytes_skips_modules_by_name() -> None:
    """`llm_int8_skip_modules` names segments anywhere in a module's path."""
    section = {"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["lm_head", "q_proj"]}
    assert ["bf16", "bnb-nf4-single"] == schemes(read(section), Q_PROJ, O_PROJ)


def test_bitsandbytes_converts_towers_unless_it_skips_them() -> None:
    """Transformers' replace_with_bnb_linear goes through the whole model."""
    section = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    assert ["bnb-nf4-single"] == schemes(read(section), VISION)
    assert ["bf16"] == schemes(read({**section, "llm_int8_skip_modules": ["visual"]}), VISION)


def test_bitsandbytes_that_loads_nothing_is_refused() -> None:
    """Neither 4 bits nor 8."""
    section = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    pointer, _ = refusal(section)
    assert pointer.endswith("/load_in_4bit")


@pytest.mark.parametrize("method", ["aqlm", None, 7, {}])
def test_an_unknown_method_is_refused(method: object) -> None:
    """The error points at `quant_method`, names it and lists the known ones."""
    pointer, detail = refusal({"quant_method": method, "bits": 2})
    assert pointer == f"{SECTION}/quant_method"
    assert repr(method) in detail
    assert "compressed-tensors" in detail


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"quant_method": "fp8", "weight_block_size": "128"}, "/weight_block_size"),
        ({"quant_method": "fp8", "weight_block_size": [128, 256]}, "/weight_block_size"),
        ({"quant_method": "fp8", "modules_to_not_convert": [1]}, "/modules_to_not_convert/0"),
        ({"quant_method": "gptq", "bits": "4"}, "/bits"),
        ({"quant_method": "fp8", "ignored_layers": ["x" * 301]}, "/ignored_layers/0"),
        ({"quant_method": "modelopt", "quant_algo": 8}, "/quant_algo"),
        ({"quant_algo": "FP8", "kv_cache_scheme": "FP2"}, "/kv_cache_scheme"),
        ({**GPTQ, "dynamic": {"-:(a+)+$": {}}}, "/dynamic"),
        ({"config_groups": {}, "ignore": ["lm_head", "re:(a+)+$"]}, "/ignore/1"),
    ],
)
def test_wrong_fields_are_pointed_at(section: dict[str, object], path: str) -> None:
    """A field of the wrong type, size or content is refused at its own pointer."""
    pointer, _ = refusal(section)
    assert pointer == f"{SECTION}{path}"


def test_a_section_must_be_an_object() -> None:
    """A list in the section's place is refused at the section."""
    pointer, _ = refusal(["fp8"])
    assert pointer == SECTION


def test_too_many_patterns_are_refused() -> None:
    """Patterns times layers are bounded: nobody publishes 800 that folding leaves different."""
    pointer, detail = refusal({**DEEPSEEK_V3, "ignored_layers": [f"x{i}" for i in range(5000)]})
    assert pointer == f"{SECTION}/ignored_layers/819"
    assert "too many" in detail


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"quant_method": "quark"}, "global_quant_config"),
        ({"quant_method": "quark", "global_quant_config": None}, "global_quant_config"),
        ({"global_quant_config": {"weight": None}, "exclude": ["lm_head"]}, "global_quant_config"),
        ({"quant_method": "compressed-tensors"}, "config_groups"),
        ({"config_groups": {"group_0": {"targets": ["Linear"]}}}, "config_groups"),
        ({"quant_method": "modelopt"}, "quant_algo"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "quant_algo"),
        ({"quantization": {"exclude_modules": ["lm_head"]}}, "quantization/quant_algo"),
        ({"quant_method": "gptq"}, "bits"),
        ({"quant_method": "gptq", "bits": 4}, "group_size"),
        ({"quant_method": "awq"}, "bits"),
        ({"quant_method": "awq", "w_bit": 4}, "group_size"),
        ({}, "quant_method"),
    ],
)
def test_a_section_that_names_no_scheme_is_refused(section: object, field: str) -> None:
    """What is quantized is never guessed, nor counted as if it were not."""
    assert f"{SECTION}/{field}" == refusal(section)[0]


@pytest.mark.parametrize(
    "section",
    [
        {"config_groups": {}, "kv_cache_scheme": {"num_bits": 8, "type": "float"}},
        {"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}},
    ],
)
def test_a_section_may_be_about_the_cache_alone(section: dict[str, object]) -> None:
    """Weights stay in the plain type."""
    stored = read(section)
    assert ("fp8", ["bf16"]) == (stored.kv_cache_dtype, schemes(stored, Q_PROJ))


@pytest.mark.parametrize("section", [[], "", 0, False, ["fp8"]])
def test_a_section_of_another_kind_is_refused(section: object) -> None:
    """Whatever it is, if it is no object."""
    assert (SECTION, "quantization_config must be an object.") == refusal(section)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"bits": 5, "group_size": 128}, "bits"),
        ({"bits": 4, "group_size": 0}, "group_size"),
        ({"bits": 4, "group_size": 100}, "group_size"),
        ({"w_bit": 4, "q_group_size": 100}, "q_group_size"),
    ],
)
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_the_wrong_one_of_width_and_group_is_pointed_to(
    method: str, wrong: dict[str, object], field: str
) -> None:
    """A width there is no scheme of, or a group that its schemes do not have."""
    assert f"{SECTION}/{field}" == refusal({"quant_method": method, **wrong})[0]


def test_every_scheme_of_gptq_is_in_the_catalog() -> None:
    """With columns in order and reordered, but for one group a row."""
    asymmetric = {f"{s}-asym" for s in methods.GPTQ.values() if s.startswith(methods.DROPPED)}
    plain = {*methods.GPTQ.values(), *asymmetric}
    ordered = {f"{scheme}-ordered" for scheme in plain if "channel" not in scheme}
    assert plain | ordered <= set(SCHEMES)


def test_three_bits_are_packed_without_gaps() -> None:
    """32 weights in 12 bytes; a scale and a zero point of three bits a group, and the columns."""
    rows, columns = Q_PROJ.shape
    groups = rows * columns // 128
    size = rows * columns * 3 // 8 + groups * 2 + groups * 3 // 8 + columns * 4
    assert size == stored_bytes(Q_PROJ, SCHEMES["gptq-int3"])
