"""`POST /v1/memory` without HTTP: sums, splits, accelerators and refusals."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput
from rackfit.memory.answer import answer_memory
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectRequest, MemoryAnswer, MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
CARD, CHECKPOINT = "deepseek-v4-pro", "deepseek-ai/DeepSeek-V4-Pro"
PARTS = ("weights_bytes", "kv_cache_bytes", "activation_bytes", "overhead_bytes", "total_bytes")


def ask(model: str = CHECKPOINT, **more: str | float | Json) -> MemoryAnswer:
    """Ask about a catalog model, one sequence of 4,096 tokens by default."""
    workload = {"context_tokens": 4096, "sequences": 1}
    question = {"model": {"id": model}, "workload": workload, **more}
    decoded = msgspec.json.decode(msgspec.json.encode(question), type=MemoryRequest)
    return answer_memory(decoded, CATALOG, device_reserve=0.10)


def test_checkpoint_weighs_what_its_files_do() -> None:
    """The published checkpoint is about 865 GB, of which the draft layers are not served."""
    assert ask().weights_bytes == pytest.approx(851e9, rel=0.005)


def test_left_out_split_is_one_rank() -> None:
    """Without a split everything is on one rank."""
    answer = ask()
    assert len(answer.ranks) == 1
    assert answer.ranks[0].total_bytes == answer.total_bytes


@pytest.mark.parametrize(
    ("tensor", "expected"), [(1, 327_680), (8, 40_960), (16, 40_960), (64, 40_960)]
)
def test_kv_heads_are_divided_until_one_is_left(tensor: int, expected: int) -> None:
    """The card's 327,680 bytes a token are divided by at most its 8 KV heads."""
    answer = ask(CARD, split={"tensor": tensor})
    assert {rank.kv_cache_bytes_per_token for rank in answer.ranks} == {expected}


def test_sequences_are_for_the_deployment() -> None:
    """Each data rank of each replica carries its share, rounded up."""
    workload = {"context_tokens": 1024, "sequences": 9}
    answer = ask(CARD, workload=workload, split={"data": 2, "replicas": 2})
    assert {rank.kv_cache_bytes for rank in answer.ranks} == {3 * 1024 * 327_680}


def test_pipeline_ranks_hold_their_layers_and_ends() -> None:
    """Two stages hold all of the model once; embedding and head are at the ends."""
    whole, halves = (
        ask(CARD, quantization="bf16"),
        ask(CARD, quantization="bf16", split={"pipeline": 2}),
    )
    assert halves.weights_bytes == whole.weights_bytes
    assert [rank.stage for rank in halves.ranks] == [0, 1]


def test_experts_that_do_not_divide_leave_one_more_on_the_first_ranks() -> None:
    """384 experts over EP5: ranks hold 77, 77, 77, 77 and 76."""
    answer = ask(split={"data": 5, "expert": 5})
    weights = [rank.weights_bytes for rank in answer.ranks]
    assert len(set(weights[:4])) == 1
    assert weights[3] > weights[4]


@pytest.mark.parametrize(
    ("model", "quantization", "expected"),
    [
        ("Qwen/Qwen3-0.6B", "bf16", "consumer_24gb"),
        ("Qwen/Qwen3-32B", "bf16", "datacenter_80gb"),
        (CARD, "Q4_K_M", "cluster"),
    ],
)
def test_exactly_one_class_of_hardware_fits(model: str, quantization: str, expected: str) -> None:
    """The three classes exclude each other."""
    found = msgspec.structs.asdict(ask(model, quantization=quantization).fits)
    assert [name for name, fits in found.items() if fits] == [expected]


def test_illegal_split_is_an_answer_and_not_an_error() -> None:
    """TP3 of 128 heads is infeasible with its reason, with and without an accelerator."""
    for more in ({}, {"accelerator": "h200"}):
        answer = ask(split={"tensor": 3}, **more)
        assert answer.feasible is False
        assert answer.rejections is not None
        assert "heads-not-divisible" in [r.code for r in answer.rejections]


def test_scheme_an_engine_cannot_load_is_a_rejection() -> None:
    """VLLM does not load every GGUF mixture; saying so is an answer."""
    answer = ask(engine={"name": "tensorrt-llm"}, quantization="Q4_K_M", accelerator="h200")
    assert answer.rejections is not None
    assert "scheme-unsupported" in [r.code for r in answer.rejections]


def test_capacity_is_what_the_fullest_rank_has_left() -> None:
    """Capacity, budget and a rank's fixed parts agree to the byte."""
    answer = ask(split={"tensor": 8, "expert": 8}, accelerator="NVIDIA-H200")
    assert (answer.feasible, answer.rejections) == (True, ())
    assert answer.capacity is not None
    left = [
        (rank.budget_bytes or 0) - rank.total_bytes + rank.kv_cache_bytes for rank in answer.ranks
    ]
    assert answer.capacity.kv_cache_bytes == min(left)


def test_capacity_in_sequences_is_reached_and_not_passed() -> None:
    """As many sequences as told fit; one more a data rank does not."""
    split = {"tensor": 8, "expert": 8}
    room = ask(split=split, accelerator="NVIDIA-H200").capacity
    assert room is not None
    for sequences, feasible in ((room.sequences, True), (room.sequences + 1, False)):
        workload = {"context_tokens": 4096, "sequences": sequences}
        again = ask(split=split, accelerator="NVIDIA-H200", workload=workload)
        assert again.feasible is feasible


def test_negative_room_is_infeasible_with_zero_capacity() -> None:
    """Weights beyond the device leave no room and no negative figures."""
    answer = ask(accelerator="NVIDIA-H200")
    assert answer.feasible is False
    assert answer.capacity is not None
    assert msgspec.structs.astuple(answer.capacity) == (0, 0, 0)


def test_rule_of_thumb_has_one_rank_and_no_activation() -> None:
    """Weights, overhead and KV by the card's rule; nothing else."""
    answer = ask(CARD, method="rule-of-thumb", quantization="Q4_K_M", overhead=0.10)
    assert (answer.weights_bytes, answer.overhead_bytes) == (800_000_000_000, 88_000_000_000)
    assert (answer.activation_bytes, len(answer.ranks)) == (0, 1)


def test_an_overhead_that_changes_nothing_is_warned_of() -> None:
    """It is the rule's; the architecture's answer counts what the engine takes."""
    plain, given = ask(), ask(overhead=0.25)
    (warning,) = set(given.warnings) - set(plain.warnings)
    assert warning.startswith("`overhead` is the rule of thumb's")
    assert given == msgspec.structs.replace(plain, warnings=given.warnings)
    by_rule = ask(CARD, method="rule-of-thumb", overhead=0.25)
    assert not any("`overhead`" in warning for warning in by_rule.warnings)


def test_card_without_a_scheme_is_bf16_and_says_so() -> None:
    """A card has no checkpoint."""
    answer = ask(CARD)
    assert answer.weights_bytes == 2 * 1_600_000_000_000
    assert any("bf16" in warning for warning in answer.warnings)


def test_inline_accelerator_is_taken_as_it_is() -> None:
    """A caller may describe an accelerator the catalog does not have."""
    own = {"id": "own", "usable_bytes": 1 << 42}
    assert ask(accelerator=own).feasible is True


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"quantization": "q9"}, "/quantization"),
        ({"quantization": "i64"}, "/quantization"),
        ({"kv_cache_dtype": "fp7"}, "/kv_cache_dtype"),
        ({"accelerator": "h1000"}, "/accelerator"),
        ({"engine": {"name": "vlm"}}, "/engine/name"),
        ({"workload": {"context_tokens": 1_048_577}}, "/workload/context_tokens"),
        ({"split": {"tensor": 64, "pipeline": 61, "data": 61}}, "/split"),
        ({"method": "rule-of-thumb", "split": {"tensor": 2}}, "/split"),
    ],
)
def test_refusals_point_at_the_field(more: Json, pointer: str) -> None:
    """What a caller got wrong is told where it stands."""
    with pytest.raises(InvalidInput) as caught:
        ask(**more)
    assert [violation.pointer for violation in caught.value.violations] == [pointer]


def test_unknown_model_is_refused_with_the_closest_names() -> None:
    """A mistyped id names what may have been meant."""
    with pytest.raises(InvalidInput, match="deepseek-v4-pro"):
        ask("deepsek-v4-pro")


@given(
    model=st.sampled_from([CARD, CHECKPOINT, "Qwen/Qwen3-30B-A3B", "google/gemma-3-27b-it"]),
    engine=st.sampled_from([None, "vllm", "sglang", "tensorrt-llm", "llama.cpp"]),
    quantization=st.sampled_from([None, "bf16", "fp8", "nvfp4", "awq-int4", "Q4_K_M"]),
    tensor=st.integers(1, 16),
    pipeline=st.integers(1, 8),
    data=st.integers(1, 4),
    sequences=st.integers(1, 100),
)
@settings(max_examples=150, deadline=None)
def test_sums_hold_for_any_split(  # noqa: PLR0917 (one argument a drawn value)
    model: str,
    engine: str | None,
    quantization: str | None,
    tensor: int,
    pipeline: int,
    data: int,
    sequences: int,
) -> None:
    """Ranks sum up, their parts too; nothing is lost and nothing is negative."""
    split = {"tensor": tensor, "pipeline": pipeline, "data": data, "expert": 1}
    workload = {"context_tokens": 2048, "sequences": sequences}
    more: Json = {"split": split, "workload": workload}
    more |= {"engine": {"name": engine}} if engine else {}
    more |= {"quantization": quantization} if quantization else {}
    answer = ask(model, **more)
    for part in PARTS:
        assert getattr(answer, part) == sum(getattr(rank, part) for rank in answer.ranks)
    for rank in answer.ranks:
        parts = [getattr(rank, part) for part in PARTS]
        assert sum(parts[:4]) == parts[4]
        assert min(parts) >= 0
    single = ask(model, **{**more, "split": {}}).weights_bytes
    assert answer.weights_bytes >= single


@pytest.mark.parametrize(
    ("model", "asked", "counted"),
    [
        ("deepseek-ai/DeepSeek-V3", "fp8", "fp8-block"),
        (CHECKPOINT, "FP8", "fp8-block"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "fp8", "fp8-channel"),
        ("meta-llama/Llama-3.1-8B-Instruct", "fp8", "fp8"),
        ("deepseek-ai/DeepSeek-V3", "fp8-channel", "fp8-channel"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "int8", "int8"),
    ],
)
def test_eight_bits_are_scaled_as_the_checkpoint_has_them(
    model: str, asked: str, counted: str
) -> None:
    """A number type that is named alone leaves open how; what is named outright stays."""
    question = {"model": {"id": model}, "quantization": asked}
    found = inspect_model(msgspec.convert(question, InspectRequest), CATALOG)
    eight_bits = {"fp8", "fp8-block", "fp8-channel", "int8"}
    assert {counted} == {tensor.scheme for tensor in found.tensors} & eight_bits
