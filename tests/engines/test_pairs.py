"""Rules about prefill and decode splits together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import truths
from engines import named
from rackfit.engines.pairs import Handover, Side
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split

LATENT, SPARSE = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3.2"
GROUPED, RECURRENT = "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-Next-80B-A3B-Instruct"
H200, B200, A100 = "NVIDIA-H200", "NVIDIA-B200", "NVIDIA-A100-SXM4-80GB"
RTX_PRO = "rtx-pro-6000"


def broken(
    engine: str,
    prefill: Split,
    decode: Split,
    model: str = GROUPED,
    on: tuple[str, str] | None = None,
) -> list[Rejection]:
    """Rules that a pair breaks; `engine` is `name` or `name:version`, `on` what sides run on."""
    parts = [truths.catalog().accelerator(part, "")[0] for part in on] if on else [None, None]
    pair = Handover(
        model=named.served(model),
        prefill=Side(prefill, parts[0]),
        decode=Side(decode, parts[1]),
    )
    return list(named.started(engine).pair_broken(pair))


@pytest.mark.parametrize(
    ("engine", "prefill", "decode", "refused"),
    [
        ("sglang", Split(pipeline=4), Split(pipeline=3), True),
        ("sglang", Split(pipeline=4), Split(pipeline=4), False),
        ("sglang", Split(pipeline=4), Split(), False),
        ("sglang", Split(), Split(pipeline=4), True),
        ("sglang", Split(context=4), Split(tensor=4, decode_context=4), True),
        ("sglang", Split(tensor=4), Split(tensor=4, decode_context=4), False),
        ("sglang", Split(tensor=8), Split(tensor=3), True),
        ("vllm", Split(pipeline=2), Split(), True),
        ("vllm", Split(), Split(pipeline=2), True),
        ("vllm", Split(tensor=4), Split(tensor=2), True),
        ("vllm", Split(tensor=2), Split(tensor=4), False),
        ("tensorrt-llm", Split(tensor=8, pipeline=3), Split(tensor=4), False),
        ("tensorrt-llm", Split(tensor=3), Split(tensor=3), True),
        ("tensorrt-llm", Split(data=3), Split(tensor=2, data=3), False),
        ("tensorrt-llm", Split(tensor=4), Split(context=6), True),
    ],
)
def test_pairs_are_those_that_the_engine_hands_on_between(
    engine: str, prefill: Split, decode: Split, *, refused: bool
) -> None:
    """Stages and rows as each engine pairs them, each refusal with its source."""
    found = broken(engine, prefill, decode)
    assert refused == bool(found)
    assert all(rejection.source for rejection in found)


@pytest.mark.parametrize(
    ("model", "prefill", "decode", "legal_from"),
    [
        (GROUPED, 2, 1, "0.19"),  # four KV heads, two a rank that reads
        (GROUPED, 4, 2, "0.20"),  # one a rank
        (GROUPED, 8, 2, None),  # each twice
        (GROUPED, 2, 8, "0.19"),
        (LATENT, 8, 4, "0.21"),
        (LATENT, 4, 8, "0.19"),
        (SPARSE, 8, 4, "0.21"),
        (RECURRENT, 2, 4, "0.20"),
        (RECURRENT, 4, 4, "0.19"),
        (GROUPED, 6, 4, None),
        (LATENT, 3, 8, None),
    ],
)
def test_tensor_ranks_that_vllm_hands_on_between_by_version(
    model: str, prefill: int, decode: int, legal_from: str | None
) -> None:
    """Multiples of each other; fewer that write than read where no head is repeated."""
    for number, version in enumerate(versions := ["0.19", "0.20", "0.21", "0.33"]):
        found = broken(f"vllm:{version}", Split(tensor=prefill), Split(tensor=decode), model)
        legal = legal_from is not None and number >= versions.index(legal_from)
        assert legal == (not found), version


@pytest.mark.parametrize(
    ("version", "reads", "writes", "refused"),
    [
        ("0.28", 8, 8, True),
        ("0.30", 8, 8, False),
        ("0.30", 1, 8, False),
        ("0.30", 1, 4, True),
    ],
)
def test_rows_that_ranks_divide_are_handed_on_by_version(
    version: str, reads: int, writes: int, *, refused: bool
) -> None:
    """All tensor ranks of a side divide them or none."""
    split = [Split(tensor=8, decode_context=degree) for degree in (reads, writes)]
    assert refused == bool(broken(f"vllm:{version}", *split, LATENT))


@pytest.mark.parametrize(
    ("engine", "model", "on", "refused"),
    [
        ("vllm", GROUPED, (H200, H200), False),
        ("vllm", GROUPED, (A100, H200), False),
        ("vllm", GROUPED, (H200, B200), True),
        ("vllm", GROUPED, (B200, RTX_PRO), True),
        ("vllm", GROUPED, (H200, RTX_PRO), False),
        ("vllm", LATENT, (A100, H200), True),
        ("vllm", LATENT, (A100, RTX_PRO), False),
        ("sglang", GROUPED, (H200, B200), True),
        ("sglang", GROUPED, (A100, H200), False),
        ("sglang", LATENT, (H200, B200), True),
        ("sglang", SPARSE, (H200, B200), False),
        ("sglang", RECURRENT, (H200, B200), False),
        ("tensorrt-llm", GROUPED, (H200, B200), False),
    ],
)
def test_devices_decide_what_two_caches_have_alike(
    engine: str, model: str, on: tuple[str, str], *, refused: bool
) -> None:
    """The kernels that vLLM compares, the pages of SGLang's; either way round."""
    for parts in (on, on[::-1]):
        found = broken(engine, Split(tensor=4), Split(tensor=4), model, parts)
        assert refused == bool(found)
        assert all("hardware-unsupported" == rejection.code for rejection in found)


@given(degrees=st.tuples(*[st.sampled_from([1, 2, 3, 4, 6, 8])] * 2))
def test_equal_sides_always_go_together(degrees: tuple[int, int]) -> None:
    """As one engine's replicas of both phases would; what is legal one way is named in numbers."""
    reads, writes = degrees
    for engine in ("vllm:0.33", "sglang"):
        assert not broken(engine, Split(tensor=reads), Split(tensor=reads), LATENT)
        found = broken(engine, Split(tensor=reads), Split(tensor=writes), LATENT)
        assert bool(found) == (max(degrees) % min(degrees) != 0)
        assert all({reads, writes} == set(one.numbers.values()) for one in found)
