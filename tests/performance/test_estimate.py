"""Speeds of splits: what never makes one slower, and what each degree and option does."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.catalog.entries import Accelerator
from rackfit.catalog.load import load_catalog
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.performance.estimate import Speeds
from rackfit.performance.run import Estimate
from rackfit.performance.serving import Serving

CATALOG = load_catalog()
H100 = CATALOG.accelerator("NVIDIA-H100-80GB-HBM3")[0]
SPLITS = {
    "meta-llama/Meta-Llama-3.1-8B": [Split(), Split(tensor=4), Split(pipeline=4)],
    "deepseek-ai/DeepSeek-V3": [Split(context=8, expert=8)],
    "deepseek-ai/DeepSeek-V3.2": [
        Split(tensor=8, expert=8),
        Split(data=16, expert=16),
        Split(context=8),
    ],
    "deepseek-ai/DeepSeek-V4-Pro": [Split(data=8, expert=8, pipeline=2)],
    "openai/gpt-oss-120b": [Split(tensor=2, data=2, expert=4)],
    "Qwen/Qwen3-Next-80B-A3B-Instruct": [Split(tensor=4), Split(data=4, expert=4)],
}
MODELS = {
    name: resolve(ModelRef(id=name), CATALOG, quantization=None, kv_cache_dtype=None).model
    for name in SPLITS
}

cases = st.sampled_from([(name, split) for name, splits in SPLITS.items() for split in splits])
sequences = st.integers(min_value=1, max_value=2000)
tokens = st.integers(min_value=1, max_value=100_000)
times = st.floats(min_value=1, max_value=8)
requests = st.one_of(
    st.builds(Serving, sequences=sequences, context_tokens=tokens),
    st.builds(
        Serving,
        sequences=sequences,
        context_tokens=tokens,
        input_tokens=tokens,
        output_tokens=tokens,
        prefix_hit=st.floats(min_value=0, max_value=1),
    ),
)


def estimated(
    name: str,
    split: Split,
    serving: Serving,
    accelerator: Accelerator = H100,
    engine_name: str = "sglang",
) -> Estimate:
    """The estimate of a split of a model under one engine."""
    engine = engine_for(EngineChoice(name=engine_name), 0.1)
    speeds = Speeds(MODELS[name], engine, CATALOG.efficiencies, serving.context_tokens)
    run = speeds.run(split, accelerator, serving)
    assert run is not None
    return run.estimate()


def not_slower(slow: Estimate, fast: Estimate) -> bool:
    """Tell whether neither time of `fast` is above that of `slow`, roundings aside."""
    a, b = slow.seconds_per_output_token.value, fast.seconds_per_output_token.value
    c, d = slow.seconds_to_first_token.value, fast.seconds_to_first_token.value
    return b <= a * (1 + 1e-9) and d <= c * (1 + 1e-9)


@given(case=cases, serving=requests, more=times)
def test_more_bandwidth_is_never_slower(
    case: tuple[str, Split], serving: Serving, more: float
) -> None:
    """Of memory and of links alike."""
    slow = estimated(*case, serving)
    for field in ("memory_bandwidth", "scale_up_bandwidth", "scale_out_bandwidth"):
        faster = msgspec.structs.replace(H100, **{field: getattr(H100, field) * more})
        assert not_slower(slow, estimated(*case, serving, faster))


@given(case=cases, serving=requests, more=times)
def test_more_operations_are_never_slower(
    case: tuple[str, Split], serving: Serving, more: float
) -> None:
    """Of any number type, and of a number type that was not there before."""
    slow = estimated(*case, serving)
    for kind in ("bf16", "fp8", "fp4"):
        flops = H100.flops | {kind: H100.flops.get(kind, 1e14) * more}
        faster = msgspec.structs.replace(H100, flops=flops)
        assert not_slower(slow, estimated(*case, serving, faster))


@given(case=cases, serving=requests, more=st.integers(min_value=1, max_value=100_000))
def test_more_context_is_never_faster(case: tuple[str, Split], serving: Serving, more: int) -> None:
    """Longer contexts and longer prompts take as long or longer."""
    longer = msgspec.structs.replace(
        serving,
        context_tokens=serving.context_tokens + more,
        input_tokens=serving.input_tokens and serving.input_tokens + more,
    )

    assert not_slower(estimated(*case, longer), estimated(*case, serving))


@given(case=cases, serving=requests, more=sequences)
def test_more_sequences_are_never_fewer_tokens(
    case: tuple[str, Split], serving: Serving, more: int
) -> None:
    """A fuller batch writes as many tokens a second or more, each sequence as fast or slower."""
    few = estimated(*case, serving)
    many = estimated(*case, msgspec.structs.replace(serving, sequences=serving.sequences + more))

    assert few.tokens_per_second.value <= many.tokens_per_second.value * (1 + 1e-9)
    assert not_slower(many, few)


def test_a_prefix_found_shortens_the_prompt() -> None:
    """Nine tenths of a prompt in the cache leave a tenth of the reading, and the attending."""
    serving = Serving(sequences=1, context_tokens=20_000, input_tokens=16_000, output_tokens=4000)
    name, split = "meta-llama/Meta-Llama-3.1-8B", Split()
    whole = estimated(name, split, serving).seconds_to_first_token.value
    found = msgspec.structs.replace(serving, prefix_hit=0.9)

    assert pytest.approx(0.13, abs=0.03) == (
        estimated(name, split, found).seconds_to_first_token.value / whole
    )


def test_drafted_tokens_are_worth_their_acceptance() -> None:
    """A small batch writes nearly as many tokens more as are accepted; none accepted only cost."""
    serving = Serving(sequences=1, context_tokens=4000)
    name, split = "deepseek-ai/DeepSeek-V3.2", Split(tensor=8, expert=8)
    plain, sure, vain = (
        estimated(
            name,
            split,
            msgspec.structs.replace(serving, speculative_tokens=drafted, acceptance=accepted),
        ).tokens_per_second.value
        for drafted, accepted in ((0, 0.0), (1, 1.0), (1, 0.0))
    )

    assert vain < plain < sure < 2 * plain


def test_context_ranks_that_read_divide_what_tensor_ranks_repeat() -> None:
    """An indexer above all: the longer the prompt, the more; what is written is not divided.

    Of GLM-5.2 at 64K on eight H200 SGLang's cookbook tells 2.5 to 2.8 times; ours is careful.
    """
    name, splits = "deepseek-ai/DeepSeek-V3.2", (Split(tensor=8), Split(context=8))
    gains, costs = [], []
    for prompt in (8192, 65_536, 131_072):
        serving = Serving(
            sequences=1,
            context_tokens=prompt,
            input_tokens=prompt,
            output_tokens=1,
            phase="prefill",
        )
        tensor, context = (estimated(name, split, serving) for split in splits)
        gains.append(tensor.seconds_to_first_token.value / context.seconds_to_first_token.value)
        costs.append(context.seconds_per_output_token.value / tensor.seconds_per_output_token.value)

    assert sorted(gains) == gains
    assert 1.5 < gains[1] < 2.8
    assert min(costs) > 1


def test_context_ranks_that_hold_rows_write_long_sequences_faster() -> None:
    """Each reads its part of the rows; of short ones it costs more than it gains."""
    b200 = CATALOG.accelerator("NVIDIA-B200")[0]
    name, splits = (
        "deepseek-ai/DeepSeek-V3",
        (Split(tensor=8, expert=8), Split(context=8, expert=8)),
    )
    gains = []
    for length in (1000, 32_000, 128_000):
        serving = Serving(sequences=8, context_tokens=length, phase="decode")
        tensor, context = (
            estimated(name, split, serving, b200, "tensorrt-llm").seconds_per_output_token.value
            for split in splits
        )
        gains.append(tensor / context)

    assert sorted(gains) == gains
    assert gains[0] < 1
    assert gains[2] > 1.5


def test_what_ranks_made_of_their_rows_is_sent_round() -> None:
    """All heads' latent sums to seven others, beside the two sums of hidden states a layer.

    By what a link takes away from the time: 2 x 7 x 7168 elements each one in a shot, and 7/8 of
    128 x 512.
    """
    b200, name = CATALOG.accelerator("NVIDIA-B200")[0], "deepseek-ai/DeepSeek-V3"
    linked = msgspec.structs.replace(b200, scale_up_bandwidth=b200.scale_up_bandwidth * 1e6)
    serving = Serving(sequences=8, context_tokens=1000, phase="decode")

    def sent(split: Split) -> float:
        slow, fast = (
            estimated(name, split, serving, part, "tensorrt-llm").seconds_per_output_token.value
            for part in (b200, linked)
        )
        return slow - fast

    ratio = sent(Split(context=8, expert=8)) / sent(Split(tensor=8, expert=8))
    assert pytest.approx(1 + 7 / 8 * 128 * 512 / (2 * 7 * 7168), rel=1e-3) == ratio


def test_rows_are_gathered_and_tokens_sent_to_their_experts() -> None:
    """In place of two sums of hidden states, scattered and gathered, in each of 61 layers.

    A row is 576 elements in 16 bits; an eighth of the tokens leaves in 8 bits for the ranks of 8
    experts, drawn evenly, and comes back in 16, in the 58 layers that have experts.
    """
    h200, name = CATALOG.accelerator("NVIDIA-H200")[0], "deepseek-ai/DeepSeek-V3"
    linked = msgspec.structs.replace(h200, scale_up_bandwidth=h200.scale_up_bandwidth * 1e6)
    serving = Serving(
        sequences=1, context_tokens=8192, input_tokens=8192, output_tokens=1, phase="prefill"
    )

    def sent(split: Split) -> float:
        slow, fast = (
            estimated(name, split, serving, part).seconds_to_first_token.value
            for part in (h200, linked)
        )
        return slow - fast

    ratio = sent(Split(context=8, expert=8)) / sent(Split(tensor=8, expert=8))
    reached = 8 * (1 - (7 / 8) ** 8)
    gathered, exchanged = 61 * 576 * 2, 58 * 7168 / 8 * (1 + 2) * reached
    assert pytest.approx((gathered + exchanged) / (61 * 2 * 2 * 7168 * 2), rel=0.01) == ratio


def test_stages_without_sequences_idle() -> None:
    """One sequence gains nothing by a pipeline; many gain most of its stages."""
    name = "meta-llama/Meta-Llama-3.1-8B"
    rate = {
        (number, stages): estimated(
            name, Split(pipeline=stages), Serving(sequences=number, context_tokens=1000)
        ).tokens_per_second.value
        for number in (1, 4096)
        for stages in (1, 4)
    }

    assert rate[1, 4] < rate[1, 1]
    assert 2 * rate[4096, 1] < rate[4096, 4] < 4 * rate[4096, 1]


def test_replicas_multiply() -> None:
    """Twice the replicas serve twice the tokens, each sequence as fast."""
    serving = Serving(sequences=8, context_tokens=1000)
    one, two = (
        estimated("openai/gpt-oss-120b", Split(tensor=2, replicas=n), serving) for n in (1, 2)
    )

    assert 2 * one.tokens_per_second.value == two.tokens_per_second.value
    assert one.tokens_per_second_per_accelerator == two.tokens_per_second_per_accelerator
    assert one.tokens_per_second_per_replica == two.tokens_per_second_per_replica
    assert one.tokens_per_second_per_user == two.tokens_per_second_per_user


def test_prompts_of_others_slow_a_sequence() -> None:
    """Served continuously, a sequence waits for prompts; the longer its own output, the less."""
    name, split = "meta-llama/Meta-Llama-3.1-8B", Split()
    alone = Serving(sequences=32, context_tokens=1500)
    rates = [
        estimated(name, split, serving).tokens_per_second.value
        for serving in (
            msgspec.structs.replace(alone, input_tokens=1000, output_tokens=100),
            msgspec.structs.replace(alone, input_tokens=1000, output_tokens=1000),
            alone,
        )
    ]

    assert all(slow < fast for slow, fast in pairwise(rates))


def test_unknown_bandwidth_gives_no_estimate() -> None:
    """Nothing is made up for an accelerator whose bandwidth nobody named."""
    unknown = msgspec.structs.replace(H100, memory_bandwidth=0)
    speeds = Speeds(
        MODELS["openai/gpt-oss-120b"], engine_for(None, 0.1), CATALOG.efficiencies, 1000
    )
    serving = Serving(sequences=1, context_tokens=1000)

    assert speeds.run(Split(), unknown, serving) is None
