"""SGLang's static share, and the pool of its sliding layers."""

import pytest

import truths
from engines import named
from planning.asking import answer, nodes_of, request
from rackfit.engines.split import Split
from rackfit.engines.start import Start

H100 = "NVIDIA-H100-80GB-HBM3"
RTX = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
NAMES = ("sglang", "vllm")
COMPUTED = 61 * 128 * (128 + 128) * 512 * 2 + 163_840 * 64 * 4
"""What SGLang adds to DeepSeek-V3's weights on a rank of whole attention."""


def capacity(weights: str, **engine: float) -> tuple[int, int]:
    """Return bytes of weights and of cache on each of eight H200."""
    answer = truths.ask(
        {
            "model": {"id": weights},
            "engine": {"name": "sglang"} | engine,
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": "NVIDIA-H200",
        }
    )
    assert answer.capacity is not None
    return answer.ranks[0].weights_bytes, answer.capacity.kv_cache_bytes


def test_the_default_share_sets_apart_what_batches_need() -> None:
    """512 MiB, 1.5 a token of 8,192, 2 a sequence of 512, 1,024 for eight ranks, 1,536 of H200."""
    reserved = (512 + 1.5 * 8192 + 2 * 512 + 1024 + 1536) / 143_771
    weights, cache = capacity("deepseek-ai/DeepSeek-V3")
    share = (weights + cache) / (137.9 * truths.GIB)
    assert 1 - reserved == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(
    ("model", "version", "row", "layers"),
    [
        ("openai/gpt-oss-20b", "0.5.23", 2 * 8 * 64 * 2, 12 + 12 * 0.8),
        ("openai/gpt-oss-20b", "0.5.6", 2 * 8 * 64 * 2, 24),
        ("google/gemma-3-27b-it", "0.5.23", 2 * 16 * 128 * 2, 62),
        ("mistralai/Mistral-7B-v0.1", "0.5.23", 2 * 8 * 128 * 2, 32),
    ],
)
def test_sliding_layers_of_some_models_have_a_pool(
    model: str, version: str, row: int, layers: float
) -> None:
    """A token of the pool costs the full layers and 0.8 of the sliding ones; else all of them."""
    answer = truths.ask(
        {
            "model": {"id": model},
            "engine": {"name": "sglang", "version": version},
            "kv_cache_dtype": "bf16",
            "workload": {"context_tokens": 8192, "sequences": 1},
        }
    )
    assert layers * row == pytest.approx(answer.ranks[0].kv_cache_bytes_per_token, abs=1)


@pytest.mark.parametrize(
    ("accelerator", "row"),
    [("NVIDIA-H200", 656), ("NVIDIA-B200", 576), (RTX, 576), ("AMD-Instinct-MI300X", 576)],
)
def test_sparse_latent_rows_in_fp8_are_those_of_the_kernels(accelerator: str, row: int) -> None:
    """V3.2 measured 48,072 bytes a token on Hopper; an indexer's key is 132 everywhere."""
    answer = truths.ask(
        {
            "model": {"id": "deepseek-ai/DeepSeek-V3.2"},
            "engine": {"name": "sglang"},
            "kv_cache_dtype": "fp8",
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": accelerator,
        }
    )
    assert 61 * (row + 132) == answer.ranks[0].kv_cache_bytes_per_token


@pytest.mark.parametrize(
    ("model", "version", "keys"),
    [
        ("zai-org/GLM-5.2", "0.5.17", 78),
        ("zai-org/GLM-5.2", "0.5.18", 21),
        ("deepseek-ai/DeepSeek-V3.2", "0.5.17", 61),
        ("deepseek-ai/DeepSeek-V3", "0.5.17", 0),
    ],
)
def test_layers_had_room_for_keys_they_do_not_keep(model: str, version: str, keys: int) -> None:
    """GLM-5.2's 57 layers that read what another's indexer chose, before 0.5.18."""
    layers = {"zai-org/GLM-5.2": 78}.get(model, 61)
    answer = truths.ask(
        {
            "model": {"id": model},
            "engine": {"name": "sglang", "version": version},
            "kv_cache_dtype": "bf16",
            "workload": {"context_tokens": 8192, "sequences": 1},
        }
    )
    assert layers * 1152 + keys * 132 == answer.ranks[0].kv_cache_bytes_per_token


@pytest.mark.parametrize("engine", NAMES)
def test_pooled_keys_are_kept_once_a_pool(engine: str) -> None:
    """132 bytes for four tokens of V3.2, on SGLang in pages of whole pools."""
    config = truths.catalog().models["deepseek-ai/DeepSeek-V3.2"].config
    assert config is not None
    asked = {"engine": {"name": engine}, "kv_cache_dtype": "bf16"}
    plain, pooled = (
        truths.ask(
            asked
            | {"model": {"config": config | more}}
            | {"workload": {"context_tokens": 257, "sequences": 1}}
        ).ranks[0]
        for more in ({}, {"index_kpool": 4})
    )
    assert 61 * (132 - 33) == plain.kv_cache_bytes_per_token - pooled.kv_cache_bytes_per_token
    held = pooled.kv_cache_bytes / pooled.kv_cache_bytes_per_token
    assert {"sglang": 512, "vllm": 272}[engine] == held
    gate, position = 128 * 7168 * 2, 4 * 128 * 4
    assert 61 * (gate + position) == pooled.weights_bytes - plain.weights_bytes


@pytest.mark.parametrize(
    ("version", "accelerator", "row"),
    [("0.5.23", RTX, 656), ("0.5.14", RTX, 576), ("0.5.23", "NVIDIA-B200", 576)],
)
def test_glm_has_kernels_of_its_own_on_rtx(version: str, accelerator: str, row: int) -> None:
    """FlashInfer's, whose rows keep their scales, on SM120 alone."""
    rows = [
        truths.ask(
            {
                "model": {"id": "zai-org/GLM-5.3-FP8"},
                "engine": {"name": "sglang", "version": version},
                "kv_cache_dtype": dtype,
                "workload": {"context_tokens": 8192, "sequences": 1},
                "split": {"tensor": 8},
                "accelerator": accelerator,
            }
        )
        .ranks[0]
        .kv_cache_bytes_per_token
        for dtype in ("bf16", "fp8")
    ]
    layers = 78
    assert layers * (2 * 576 - row) == rows[0] - rows[1]


def test_the_default_share_follows_the_callers_chunk() -> None:
    """A chunk of 32,768 sets 48 GiB of activations apart, one of 2,048 no less than the floor."""
    (_, usual), (_, large) = (
        capacity("deepseek-ai/DeepSeek-V3"),
        capacity("deepseek-ai/DeepSeek-V3", max_batched_tokens=32_768),
    )
    assert 1.5 * (32_768 - 8192) * (1 << 20) == pytest.approx(usual - large, rel=0.02)


def test_the_head_is_divided_over_all_ranks_of_attention_dp() -> None:
    """Without `--enable-dp-lm-head`, which is not among the arguments; vLLM's is over TP alone."""
    split = Split(tensor=2, data=4)
    parts = {name: named.started(name).head_parts(split) for name in NAMES}
    assert {"sglang": 8, "vllm": 2} == parts


def test_a_rank_of_attention_dp_holds_its_part_of_the_head() -> None:
    """An eighth of DeepSeek-V3's head of 1.73 GiB stays; seven eighths are elsewhere."""
    asked = {
        "model": {"id": "deepseek-ai/DeepSeek-V3"},
        "workload": {"context_tokens": 8192, "sequences": 8},
        "split": {"tensor": 1, "data": 8},
        "engine": {"name": "sglang"},
        "accelerator": "NVIDIA-H200",
    }
    head = 129_280 * 7168 * 2
    here = truths.ask(asked).ranks[0].weights_bytes - COMPUTED
    assert here + head * 7 / 8 == pytest.approx(90.867 * truths.GIB, rel=0.001)


def test_latent_projections_are_kept_twice_and_rotary_tables_in_f32() -> None:
    """Of V3 61 x 128 heads x (128 + 128) x 512 in bf16, and 163,840 positions of 64."""
    sizes = []
    for engine in ({"name": "generic"}, {"name": "sglang"}):
        asked = {
            "model": {"id": "deepseek-ai/DeepSeek-V3"},
            "engine": engine,
            "workload": {"context_tokens": 8192, "sequences": 1},
        }
        sizes.append(truths.ask(asked).ranks[0].weights_bytes)
    assert COMPUTED == pytest.approx(sizes[1] - sizes[0], rel=0.2)  # the allocator's steps besides


H100_MIB, H100_USABLE = 81_559, 79.19 * 1024


def static_share(
    model: str, version: str = "0.5.23", split: dict[str, int] | None = None, **engine: int
) -> float:
    """Return the default share on H100s, from the weights and the cache that it holds."""
    answer = truths.ask(
        {
            "model": {"id": model},
            "engine": {"name": "sglang", "version": version} | engine,
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": split or {"tensor": 8},
            "accelerator": "h100",
        }
    )
    rank, room = answer.ranks[0], answer.capacity
    assert room is not None
    there = H100_USABLE * (1 << 20) - rank.overhead_bytes
    return (rank.weights_bytes + room.kv_cache_bytes) / there


@pytest.mark.parametrize(
    ("model", "version", "factor"),
    [
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", "0.5.9", 0.95 * (1 - 0.1 * (1152**2 / 1024**2 - 1))),
        ("Qwen/Qwen2-VL-72B-Instruct", "0.5.9", 0.95 * 0.8),
        (
            "moonshotai/Kimi-VL-A3B-Instruct",
            "0.5.9",
            0.95 * (1.1 - 0.1 * 27 * 1152**2 / 24 / 2**20),
        ),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", "0.4.9", 0.9),
        ("google/gemma-3-27b-it", "0.5.9", 1),
        ("Qwen/Qwen3-235B-A22B", "0.5.9", 1),
    ],
    ids=["its width alone is named", "the least", "both named", "before 0.4.10", "off", "none"],
)
def test_a_vision_tower_lowers_the_default_share(model: str, version: str, factor: float) -> None:
    """By its size as the section names it, ViT-L/14 where it does not; not where it is off."""
    reserved = 512 + 1.5 * 8192 + 2 * 512 + 1024
    assert factor * (1 - reserved / H100_MIB) == pytest.approx(
        static_share(model, version), abs=0.001
    )


@pytest.mark.parametrize(
    ("model", "version", "split", "engine", "more"),
    [
        ("Qwen/Qwen3-32B", "0.5.9", {"tensor": 8}, {}, 0),
        ("Qwen/Qwen3-32B", "0.5.23", {"tensor": 8}, {}, 58 * 8),
        ("Qwen/Qwen3-32B", "0.5.23", {"tensor": 4, "pipeline": 2}, {}, 0),
        ("Qwen/Qwen3-32B", "0.5.14", {"tensor": 8}, {"lora_slots": 1}, 0),
        ("Qwen/Qwen3-32B", "0.5.23", {"tensor": 8}, {"lora_slots": 1}, 58 * 8),
        ("deepseek-ai/DeepSeek-V2-Lite", "0.5.14", {"tensor": 8}, {}, 1536),
        ("Qwen/Qwen3.5-35B-A3B", "0.5.14", {"tensor": 8}, {"speculative_tokens": 1}, 0),
        ("Qwen/Qwen3.5-35B-A3B", "0.5.9", {"tensor": 8}, {"speculative_tokens": 1}, 2048),
    ],
)
def test_the_default_share_sets_apart_graphs_of_prompts_and_drafting(
    model: str, version: str, split: dict[str, int], engine: dict[str, int], more: float
) -> None:
    """58 numbers of tokens up to 8,192 are captured, at 8 MiB each; latent attention has 1,536."""
    reserved = 512 + 1.5 * 8192 + 2 * 512 + 1024 + more
    tower = 0.95 * (1 - 0.1 * (1152**2 / 1024**2 - 1)) if "3.5" in model else 1
    assert tower * (1 - reserved / H100_MIB) == pytest.approx(
        static_share(model, version, split, **engine), abs=0.001
    )


def test_small_devices_had_smaller_chunks_and_graphs_before() -> None:
    """Below 35 GiB: 2,048 tokens and 24 sequences until 0.5.18, 4,096 and 48 since."""
    card = truths.catalog().accelerator("NVIDIA-GeForce-RTX-5090", "")[0]
    limits = [
        named.started(f"sglang:{version}").limits(card, 8192) for version in ("0.5.18", "0.5.20")
    ]
    assert [(2048, 24), (4096, 48)] == [(x.batched_tokens, x.sequences) for x in limits]


@pytest.mark.parametrize(
    ("model", "tokens", "version", "kept"),
    [
        ("Qwen/Qwen3-32B", 16_384, "0.5.9", 0.85),
        ("Qwen/Qwen3-32B", 8192, "0.5.9", 1),
        ("Qwen/Qwen3-32B", 16_384, "0.5.3", 1),
        ("deepseek-ai/DeepSeek-V3", 16_384, "0.5.9", 0.85),
        ("deepseek-ai/DeepSeek-V2-Lite", 16_384, "0.5.9", 1),
        ("deepseek-ai/DeepSeek-V3.2", 16_384, "0.5.9", 1),
    ],
    ids=["full", "short", "before 0.5.6", "16 heads a rank", "2 heads a rank", "sparse"],
)
def test_amd_has_less_of_its_share_for_long_contexts(
    model: str, tokens: int, version: str, kept: float
) -> None:
    """Whoever named it: AITER's kernels need the rest."""
    answer = truths.ask(
        {
            "model": {"id": model},
            "engine": {"name": "sglang", "version": version, "gpu_memory_utilization": 0.8},
            "workload": {"context_tokens": tokens, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": "AMD-Instinct-MI300X",
        }
    )
    rank, room = answer.ranks[0], answer.capacity
    assert room is not None
    usable = truths.catalog().accelerators["AMD-Instinct-MI300X"].usable_bytes
    held = rank.weights_bytes + room.kv_cache_bytes
    assert 0.8 * kept == pytest.approx(held / (usable - rank.overhead_bytes), rel=1e-6)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-8B"])
def test_a_plan_prints_the_share_it_was_counted_with(model: str) -> None:
    """Named, SGLang takes a share as it is: it must be the one that a tower has lowered."""
    catalog = truths.catalog()
    usable = catalog.accelerators[H100].usable_bytes
    found = answer(catalog, request(nodes_of(H100, 1, 1), model, engine={"name": "sglang"}))
    plan = found["plans"][0]
    share, rank = plan["launch"]["gpu_memory_utilization"], plan["ranks"][0]["memory"]
    there = usable - rank["overhead_bytes"]
    assert f"--mem-fraction-static={share:g}" in plan["launch"]["arguments"]
    kept = rank["activation_bytes"] + rank["overhead_bytes"]
    assert int(share * there) + kept == rank["budget_bytes"]


@pytest.mark.parametrize(
    ("version", "slots"), [("0.5.3", 1), ("0.5.9", 3), ("0.5.14", 5), ("0.5.23", 5)]
)
def test_states_have_a_pool_of_their_own(version: str, slots: int) -> None:
    """0.9 bytes of states for each of rows, and three or five slots a request."""
    asked = {
        "model": {"id": "Qwen/Qwen3.5-35B-A3B"},
        "engine": {"name": "sglang", "version": version},
        "split": {"tensor": 2},
        "accelerator": "h100",
    }
    short = truths.ask(asked | {"workload": {"context_tokens": 64, "sequences": 1}})
    ideal = truths.ask(
        asked
        | {
            "engine": asked["engine"] | {"cache_layout": "ideal"},
            "workload": {"context_tokens": 64, "sequences": 1},
        }
    )
    row = ideal.ranks[0].kv_cache_bytes_per_token
    state = ideal.ranks[0].kv_cache_bytes - 64 * row
    room = short.capacity
    assert room is not None
    pool = room.kv_cache_bytes
    if slots == 1:
        assert pool // (state + 64 * row) == room.sequences
        return
    assert pool * 9 // 19 // (slots * state) == pytest.approx(room.sequences, abs=1)
    assert pool * 10 // 19 // row == pytest.approx(room.kv_cache_tokens, abs=1)


def test_long_contexts_are_bound_by_rows_and_not_by_states() -> None:
    """Beyond some length the rows' pool is full first: a sequence costs 1.9 times its rows."""
    answer = truths.ask(
        {
            "model": {"id": "Qwen/Qwen3.5-35B-A3B"},
            "engine": {"name": "sglang"},
            "split": {"tensor": 2},
            "workload": {"context_tokens": 200_000, "sequences": 2},
            "accelerator": "h100",
        }
    )
    rank = answer.ranks[0]
    rows = 2 * 200_000 * rank.kv_cache_bytes_per_token
    assert 1.9 * rows == pytest.approx(rank.kv_cache_bytes, rel=1e-6)


@pytest.mark.parametrize(("version", "by_request"), [("0.5.12", False), ("0.5.23", True)])
def test_v4_has_a_tenth_of_its_tokens_in_windows(version: str, *, by_request: bool) -> None:
    """Pages of 256: a window's of 149,760 bytes, rows' of 37,440 and 1,728, keys' of 64 x 132.

    Every fourth-token layer's compressor keeps 81,920 bytes a page of the window, those of 128
    keep 524,288 a request, or as many a page until 0.5.14.
    """
    answer = truths.ask(
        {
            "model": {"id": "deepseek-ai/DeepSeek-V4-Pro"},
            "engine": {"name": "sglang", "version": version},
            "workload": {"context_tokens": 25_600, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": "NVIDIA-B200",
        }
    )
    fourth, long = 30, 31
    windows = 61 * 149_760 + fourth * 81_920 + (0 if by_request else long * 524_288)
    page = windows / 10 + fourth * (37_440 + 64 * 132) + long * 1728
    state = long * 524_288 if by_request else 0
    assert 100 * page + state == pytest.approx(answer.ranks[0].kv_cache_bytes, rel=1e-6)
    assert page / 256 == pytest.approx(answer.ranks[0].kv_cache_bytes_per_token, abs=1)


@pytest.mark.parametrize(
    ("model", "dtype", "argument"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "bf16", "bfloat16"),
        ("deepseek-ai/DeepSeek-V3.2", "fp8", "fp8_e4m3"),
        ("deepseek-ai/DeepSeek-V3", "bf16", None),
    ],
)
def test_a_cache_whose_default_is_the_devices_is_named(
    model: str, dtype: str, argument: str | None
) -> None:
    """Sparse latent rows would be in fp8 on Blackwell whatever was counted."""
    question = request(nodes_of("NVIDIA-B200", 1), model, engine={"name": "sglang"})
    found = answer(truths.catalog(), question | {"kv_cache_dtype": dtype})
    named = [a for a in found["plans"][0]["launch"]["arguments"] if "kv-cache-dtype" in a]
    assert ([] if argument is None else [f"--kv-cache-dtype={argument}"]) == named


@pytest.mark.parametrize(("version", "graphs"), [("0.5.23", 0), ("0.5.14", 1536)])
def test_deepseek_v3_has_no_graphs_of_prompts_on_blackwell(version: str, graphs: int) -> None:
    """Of 16,384 tokens a chunk and 512 sequences a graph; breakable graphs are left off there."""
    answer = truths.ask(
        {
            "model": {"id": "deepseek-ai/DeepSeek-V3"},
            "engine": {"name": "sglang", "version": version},
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": "NVIDIA-B200",
        }
    )
    rank, room = answer.ranks[0], answer.capacity
    assert room is not None
    card = truths.catalog().accelerators["NVIDIA-B200"]
    usable, reported = card.usable_bytes, card.reported_bytes
    assert reported is not None
    reserved = 512 + 1.5 * 16_384 + 2 * 512 + 1024 + graphs
    share = (rank.weights_bytes + room.kv_cache_bytes) / (usable - rank.overhead_bytes)
    assert 1 - reserved * (1 << 20) / reported == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(
    ("accelerator", "model", "tensor", "share"),
    [
        ("h100", "Qwen/Qwen3-32B", 2, 0.828),
        ("NVIDIA-GeForce-RTX-4090", "meta-llama/Llama-3.1-8B-Instruct", 1, 0.704),
    ],
)
def test_the_default_share_is_of_what_the_drivers_tool_prints(
    accelerator: str, model: str, tensor: int, share: float
) -> None:
    """0.828 is SGLang's own log of two H100 (sglang issue 29092)."""
    card = truths.catalog().accelerator(accelerator, "")[0]
    engine = named.started("sglang")
    split = Split(tensor=tensor)
    start = Start(model=named.served(model), accelerator=card, split=split, context_tokens=8192)
    assert share == engine.utilization(start, card.usable_bytes)


@pytest.mark.parametrize("version", ["0.5.12", "0.5.23"])
def test_drafting_doubles_the_states_of_v4(version: str) -> None:
    """Rings of 16 and 256 tokens; the layer that drafts is one more, alike the last."""
    asked = {
        "model": {"id": "deepseek-ai/DeepSeek-V4-Pro"},
        "workload": {"context_tokens": 25_600, "sequences": 1},
        "split": {"tensor": 8},
        "accelerator": "NVIDIA-B200",
    }
    plain, drafting = (
        truths.ask(asked | {"engine": {"name": "sglang", "version": version} | more}).ranks[0]
        for more in ({}, {"speculative_tokens": 1})
    )
    by_request = version == "0.5.23"
    fourth, long = 30 * 81_920, 31 * 524_288
    states = 10 * fourth + (long if by_request else 10 * long)
    more = drafting.kv_cache_bytes - plain.kv_cache_bytes - states
    assert 0 < more < 0.05 * plain.kv_cache_bytes


@pytest.mark.parametrize(
    ("model", "accelerator", "page"),
    [
        ("Qwen/Qwen3-32B", "NVIDIA-B200", 64),
        ("Qwen/Qwen3-32B", "NVIDIA-GeForce-RTX-5090", 1),
        ("Qwen/Qwen3-32B", "NVIDIA-H200", 1),
        ("deepseek-ai/DeepSeek-V3", "NVIDIA-B200", 64),
        ("deepseek-ai/DeepSeek-V2-Lite", "NVIDIA-B200", 1),
        ("deepseek-ai/DeepSeek-V3.2", "NVIDIA-H200", 64),
        ("XiaomiMiMo/MiMo-V2-Flash", "NVIDIA-B200", 128),
    ],
)
def test_pages_are_those_of_the_default_kernels(model: str, accelerator: str, page: int) -> None:
    """A sequence of 65 tokens takes whole pages, and the pool is whole pages."""
    asked = {
        "model": {"id": model},
        "engine": {"name": "sglang", "gpu_memory_utilization": 0.9},
        "split": {"tensor": 8},
        "accelerator": accelerator,
    }
    one, held = (
        truths.ask(asked | {"workload": {"context_tokens": tokens, "sequences": 1}})
        for tokens in (1, 65)
    )
    each = one.ranks[0].kv_cache_bytes / page
    assert -(-65 // page) * page * each == pytest.approx(held.ranks[0].kv_cache_bytes, rel=1e-6)
    assert held.capacity is None or held.capacity.kv_cache_tokens % page == 0


def test_the_share_of_a_tower_is_not_rounded_again() -> None:
    """0.95 of 0.8 of whole per mille: adjust_mem_fraction_for_vlm only multiplies."""
    share = static_share("Qwen/Qwen2-VL-72B-Instruct", "0.5.23")
    reserved = 512 + 1.5 * 8192 + 2 * 512 + 1024
    assert 0.76 * round(1 - reserved / H100_MIB, 3) == pytest.approx(share, abs=1e-5)
