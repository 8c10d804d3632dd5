"""Tables of the order of columns: what a checkpoint stores of them, and what ranks keep."""

from typing import Any

import pytest

import truths
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectRequest, ModelRef

LAYERS, HIDDEN, WIDTH, HEADS, KV_HEADS, HEAD = 2, 4096, 14_336, 32, 8, 128
COLUMNS = LAYERS * (6 * HIDDEN + WIDTH)
"""Input columns of q, k, v, o, gate and up, and of down."""

DENSE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": 32_000,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
MIXTURE = DENSE | {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}

LARGE = {
    "hidden_size": 16_384,
    "intermediate_size": 65_536,
    "num_attention_heads": 256,
    "num_key_value_heads": 128,
    "head_dim": 128,
}
ATTENTION = LAYERS * 6 << 20
FEED_FORWARD = LAYERS * 12 << 20
"""Zero points of these sides, in whole steps of PyTorch's allocator."""


def compressed(actorder: object, *, symmetric: bool = True) -> dict[str, Any]:
    """Return a section of compressed-tensors, groups of 128."""
    weights = {
        "num_bits": 4,
        "type": "int",
        "strategy": "group",
        "group_size": 128,
        "symmetric": symmetric,
        "actorder": actorder,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head", "re:.*gate$"],
    }


def gptq(*, desc_act: bool, sym: bool = True) -> dict[str, Any]:
    """Return a section of GPTQ, groups of 128."""
    section = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    return section | {"desc_act": desc_act, "sym": sym}


def checkpoint(section: dict[str, Any], config: dict[str, Any] = DENSE) -> int:
    """Return the bytes that a checkpoint stores."""
    asked = InspectRequest(model=ModelRef(config=config | {"quantization_config": section}))
    return inspect_model(asked, truths.catalog()).checkpoint_bytes


def rank(
    section: dict[str, Any],
    tensor: int,
    engine: str = "vllm",
    accelerator: str = "a100-80gb",
    config: dict[str, Any] = DENSE,
) -> int:
    """Return the bytes of weights on a rank."""
    question = {
        "model": {"config": config | {"quantization_config": section}},
        "engine": {"name": engine},
        "split": {"tensor": tensor},
        "workload": {"context_tokens": 1024, "sequences": 1},
        "accelerator": accelerator,
    }
    return truths.ask(question).ranks[0].weights_bytes


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("actorder", ["group", "dynamic", True])
def test_grouped_orders_store_four_bytes_a_column(actorder: object, *, symmetric: bool) -> None:
    """`weight_g_idx` of every converted matrix, symmetric or not."""
    plain = checkpoint(compressed(None, symmetric=symmetric))
    ordered = checkpoint(compressed(actorder, symmetric=symmetric))
    assert 4 * COLUMNS == ordered - plain


@pytest.mark.parametrize("actorder", ["weight", "static", False])
def test_other_orders_store_none(actorder: object) -> None:
    """Columns that went back to their places need no table."""
    assert checkpoint(compressed(None)) == checkpoint(compressed(actorder))


def test_experts_have_a_table_each() -> None:
    """Of two matrices over the model's width and one over their own."""
    experts = LAYERS * 8 * (2 * HIDDEN + WIDTH)
    attention = LAYERS * 4 * HIDDEN
    plain, ordered = (checkpoint(compressed(order), MIXTURE) for order in (None, "group"))
    assert 4 * (experts + attention) == ordered - plain


def test_gptq_stores_its_table_whatever_the_order() -> None:
    """AutoGPTQ writes `g_idx` always."""
    assert checkpoint(gptq(desc_act=False)) == checkpoint(gptq(desc_act=True))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("tensor", [1, 2, 4])
def test_a_rank_keeps_order_and_sorting_of_its_columns_and_all_scales(
    engine: str, tensor: int
) -> None:
    """Eight bytes a column of q, k and v as one, of gate and up as one, and of its o and down.

    Of o and down it has the scales of every group, two bytes each.
    """
    tables = 8 * LAYERS * (2 * HIDDEN + (HEADS * HEAD + WIDTH) // tensor)
    scales = 2 * LAYERS * HIDDEN * (HEADS * HEAD + WIDTH) // 128
    more = tables + scales - scales // tensor
    plain, ordered = (rank(compressed(order), tensor, engine) for order in (None, "group"))
    assert more == pytest.approx(ordered - plain, abs=LAYERS * 4 * 512)


@pytest.mark.parametrize(("engine", "tensor", "kept"), [("vllm", 1, 8), ("generic", 2, 4)])
def test_a_rank_keeps_the_tables_of_its_experts(engine: str, tensor: int, kept: int) -> None:
    """Under TP every rank has a part of every expert: all columns of up, its own of down."""
    held = LAYERS * (HIDDEN + 8 * HIDDEN + (HEADS * HEAD + 8 * WIDTH) // tensor)
    scales = 2 * LAYERS * HIDDEN * (HEADS * HEAD + 8 * WIDTH) // 128
    more = kept * held + scales - scales // tensor
    plain, ordered = (rank(compressed(o), tensor, engine, config=MIXTURE) for o in (None, "group"))
    assert more == ordered - plain


@pytest.mark.parametrize("desc_act", [False, True])
def test_gptq_stores_zero_points_whether_they_say_anything(*, desc_act: bool) -> None:
    """AutoGPTQ writes `qzeros` always."""
    symmetric, not_ = (checkpoint(gptq(desc_act=desc_act, sym=sym)) for sym in (True, False))
    assert symmetric == not_


@pytest.mark.parametrize(
    ("engine", "accelerator", "desc_act", "config", "dropped"),
    [
        ("vllm", "a100-80gb", False, DENSE, ATTENTION + FEED_FORWARD),
        ("vllm", "a100-80gb", True, DENSE, ATTENTION + FEED_FORWARD),
        ("vllm", "h100", False, DENSE, 0),
        ("vllm", "v100", False, DENSE, 0),  # Exllama
        ("vllm", "v100", True, DENSE, 0),
        ("sglang", "h100", False, DENSE, ATTENTION + FEED_FORWARD),
        ("tensorrt-llm", "h100", False, DENSE, 0),
        ("vllm", "a100-80gb", False, MIXTURE, ATTENTION),
    ],
)
def test_marlin_drops_zero_points_that_say_nothing(
    engine: str,
    accelerator: str,
    *,
    desc_act: bool,
    config: dict[str, Any],
    dropped: int,
) -> None:
    """Half a byte a group of 128, of plain matrices; experts keep theirs."""
    symmetric, not_ = (
        rank(gptq(desc_act=desc_act, sym=sym), 1, engine, accelerator, config | LARGE)
        for sym in (True, False)
    )
    assert dropped == not_ - symmetric


def test_a_plain_order_is_dropped_but_by_hoppers_kernels() -> None:
    """Marlin has no use for a table that says nothing; Machete leaves it where it is.

    Zero points go the same way.
    """
    section = gptq(desc_act=False, sym=False)
    ampere, hopper = (rank(section, 2, accelerator=a) for a in ("a100-80gb", "h100"))
    kept = 4 * LAYERS * (2 * HIDDEN + (HEADS * HEAD + WIDTH) // 2)
    assert kept == pytest.approx(hopper - ampere, abs=LAYERS * 4 * 512)
