"""Figures that others measured beside Rackfit's answers to the same question.

Every comparison is a `Figure`; the tests under tests/truth hold each to what is allowed, and
`make accuracy` prints them all.
"""

import csv
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rackfit.catalog.load import Catalog, load_catalog
from rackfit.engines.choice import EngineChoice
from rackfit.memory.answer import answer_memory
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import (
    InspectAnswer,
    InspectRequest,
    MemoryAnswer,
    MemoryRequest,
    ModelRef,
)

DATA = Path(__file__).parent / "truth" / "data"
GIB = 1 << 30
Json = dict[str, Any]


class Figure(NamedTuple):
    """One measured quantity and ours; `allowed` is how far apart they may be."""

    group: str
    case: str
    quantity: str
    ours: float
    theirs: float
    allowed: float

    @property
    def error(self) -> float:
        """Our relative error."""
        return abs(self.ours / self.theirs - 1)

    @property
    def holds(self) -> bool:
        """Tell whether ours is as near as it must be."""
        return abs(self.ours - self.theirs) <= self.allowed


@cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


def ask(question: Json) -> MemoryAnswer:
    """Answer a memory question as the service does."""
    decoded = msgspec.convert(question, MemoryRequest)
    return answer_memory(decoded, catalog(), device_reserve=0.10)


def table(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file."""
    with (DATA / name).open(newline="") as file:
        yield from csv.DictReader(file)


def cases(name: str) -> list[Json]:
    """Return the cases of a JSON file."""
    found: list[Json] = json.loads((DATA / name).read_text())
    return found


def vllm_figures() -> Iterator[Figure]:
    """38 start-ups of vLLM 0.19 on H100: weights, cache bytes and cache tokens a device."""
    for row in table("vllm_0.19_h100.csv"):
        answer = ask(vllm_question(row))
        assert answer.capacity is not None
        case = f"{row['model']} TP{row['tp']} PP{row['pp']} {row['dtype'][6:]}"
        weights, room = float(row["weights_memory_gib"]), float(row["kv_cache_memory_gib"])
        tokens = int(row["kv_cache_tokens"])
        ours = answer.ranks[0].weights_bytes / GIB
        allowed = max(0.005 * weights, 0.05)
        yield Figure("vLLM 0.19", case, "weights GiB", ours, weights, allowed)
        ours = answer.capacity.kv_cache_bytes / GIB
        yield Figure("vLLM 0.19", case, "KV GiB", ours, room, max(0.03 * room, 0.4))
        found = answer.capacity.kv_cache_tokens
        yield Figure("vLLM 0.19", case, "KV tokens", found, tokens, 0.03 * tokens)


STATIC = {name: f"{name}-static" for name in ("IQ4_XS", "IQ4_NL")}
"""What types of llama.cpp's table are, that were made without an importance matrix."""


def gguf_figures() -> Iterator[Figure]:
    """Sizes of GGUF files that were made by the rules of their type's name."""
    for row in table("gguf_llama_3.1_8b.csv"):
        model, made = "meta-llama/Llama-3.1-8B-Instruct", STATIC.get(row["scheme"], row["scheme"])
        size, published = gguf_gib(model, made), float(row["file_gib"])
        yield Figure("GGUF", f"{model} {row['scheme']}", "GiB", size, published, 0.005)
    for file in cases("gguf_files.json"):
        if "explained" not in file:
            size, measured = gguf_gib(file["model"], file["file_type"]), file["file_gib"]
            case = f"{file['model']} {file['file_type']}"
            yield Figure("GGUF", case, "GiB", size, measured, 0.01 * measured)


def gguf_gib(model: str, file_type: str) -> float:
    """Return the size of a catalog model's file."""
    return gguf_file(model, file_type).checkpoint_bytes / GIB


def gguf_file(model: str, file_type: str) -> InspectAnswer:
    """Inspect a catalog model in a GGUF of some type."""
    engine = EngineChoice(name="llama.cpp")
    asked = InspectRequest(model=ModelRef(id=model), quantization=file_type, engine=engine)
    return inspect_model(asked, catalog())


def vllm_question(row: dict[str, str]) -> Json:
    """Return what a start-up of vLLM asks; the log's first rank is rank 0."""
    question: Json = {
        "model": {"id": row["model"]},
        "engine": {
            "name": "vllm",
            "version": "0.19",
            "gpu_memory_utilization": float(row["gpu_memory_utilization"]),
        },
        "workload": {"context_tokens": int(row["max_model_len"]), "sequences": 1},
        "split": {"tensor": int(row["tp"]), "pipeline": int(row["pp"]), "data": int(row["dp"])},
        "accelerator": "NVIDIA-H100-80GB-HBM3",
    }
    if row["dtype"] == "torch.float32":
        question["quantization"] = "f32"
    if row["quantization"] == "fp8":
        question["quantization"] = "fp8"  # converted while loading
    if row["kv_cache_dtype"] != "auto":
        question["kv_cache_dtype"] = row["kv_cache_dtype"]
    return question


BENCHMARK_SLACK = 1000
"""Tokens by which the benchmark's `--max_seq_len` exceeded isl + osl; every sequence reserves them.

Source: aiconfigurator, tests/unit/sdk (KV OOM boundary tests), whose comments give the options:
max_seq_len = isl + osl + 1000, max_num_tokens = 2 x isl, KV cache in bfloat16.
"""

SYSTEMS = {"h100_sxm": "NVIDIA-H100-80GB-HBM3", "gb300": "NVIDIA-GB300"}


def tensorrt_figures() -> Iterator[Figure]:
    """36 largest batches of TensorRT-LLM."""
    for row in table("trtllm_max_batch.csv"):
        prompt, reply = int(row["isl"]), int(row["osl"])
        engine = {
            "name": "tensorrt-llm",
            "gpu_memory_utilization": float(row["free_frac"]),
            "max_batched_tokens": 2 * prompt,
        }
        context = prompt + reply + BENCHMARK_SLACK
        answer = ask(
            {
                "model": {"id": row["model"]},
                "engine": engine,
                "kv_cache_dtype": "bf16",
                "workload": {"context_tokens": context, "sequences": 1},
                "split": {"tensor": int(row["tp"])},
                "accelerator": SYSTEMS[row["system"]],
            }
        )
        assert answer.capacity is not None
        batch = int(row["bench_max_bs"])
        case = f"{row['model']} {row['system']} TP{row['tp']} {prompt}+{reply} {row['free_frac']}"
        ours = answer.capacity.sequences
        yield Figure("TensorRT-LLM", case, "sequences", ours, batch, max(1, 0.02 * batch))


WITHIN = 0.03
MEASURES: dict[str, Callable[[MemoryAnswer], float]] = {
    "weights_gib_per_gpu": lambda answer: answer.ranks[0].weights_bytes / GIB,
    "weights_gib_other_rank": lambda answer: answer.ranks[-1].weights_bytes / GIB,
    "activation_gib": lambda answer: answer.ranks[0].activation_bytes / GIB,
    "kv_bytes_gib": lambda answer: _capacity(answer) / GIB,
    "kv_tokens": lambda answer: answer.capacity.kv_cache_tokens if answer.capacity else 0,
    "kv_needed_gib_for_max_len": lambda answer: answer.ranks[0].kv_cache_bytes / GIB,
    "offload_bytes": lambda answer: 8 * OFFLOADED * answer.ranks[0].kv_cache_bytes_per_token,
    "max_concurrency": lambda answer: _concurrency(answer, 1),
    "max_concurrency_total": lambda answer: _concurrency(answer, 8),
}
"""What a log says, and where our answer says it."""

CONCURRENCY_CONTEXT = 1 << 20
OFFLOADED = 138_615
"""Tokens that GLM-5.3's log says eight ranks offloaded together."""


def _capacity(answer: MemoryAnswer) -> float:
    return answer.capacity.kv_cache_bytes if answer.capacity else 0


def _concurrency(answer: MemoryAnswer, ranks: int) -> float:
    tokens = answer.capacity.kv_cache_tokens if answer.capacity else 0
    return ranks * tokens / CONCURRENCY_CONTEXT


def engine_figures() -> Iterator[Figure]:
    """Every quantity of the engine cases that were read whole, in the order of the file."""
    asked = json.loads((DATA / "engine_case_questions.json").read_text())
    for case in cases("engine_cases.json"):
        entry = asked.get(case["id"], {})
        if not entry.get("compare"):
            continue
        answer = ask(entry["question"])
        for quantity in entry["compare"]:
            theirs = case["measured"][quantity]
            ours = MEASURES[quantity](answer)
            yield Figure("Engine logs", case["id"], quantity, ours, theirs, WITHIN * theirs)


def refusals() -> Iterator[tuple[str, MemoryAnswer]]:
    """Yield each engine case that did not start, with our answer."""
    asked = json.loads((DATA / "engine_case_questions.json").read_text())
    for case, entry in asked.items():
        if entry.get("refused"):
            yield case, ask(entry["question"])
