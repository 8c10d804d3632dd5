"""Questions about memory and their answers, as they stand on the wire."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rackfit.architecture.model import Component
from rackfit.architecture.parameters import Parameters
from rackfit.catalog.entries import Accelerator, Card, Name
from rackfit.engines.choice import EngineChoice
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split

LayerList = Annotated[
    tuple[Annotated[int, Meta(ge=1, le=10_000)], ...], Meta(min_length=1, max_length=10_000)
]
"""Layers on each pipeline stage."""

Method = Literal["architecture", "rule-of-thumb"]
Tokens = Annotated[int, Meta(ge=1, le=1 << 32)]
Sequences = Annotated[int, Meta(ge=1, le=10_000_000)]
Share = Annotated[float, Meta(ge=0, le=10)]
Part = Annotated[float, Meta(ge=0, le=1)]


Base64 = Annotated[
    bytes,
    Meta(
        extra_json_schema={
            "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![\\s\\S])"
        }
    ),
]
"""Bytes as RFC 4648, section 4, spells them, padded."""


class ModelRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model: exactly one of a catalog `id`, a published `config`, a `card` and a `gguf`.

    Beside a config (config.json) may stand the checkpoint's `hf_quant_config` (of the file of that
    name) and `safetensors`: its index, or its header; of several files, their headers merged. A
    config of an unknown `model_type` is read as the family that `assume` names ("llama"), if all of
    its fields are familiar there.
    A `gguf` is the beginning of a file in base64, up to the end of its tensor infos at least; of a
    split file, a list of its parts' beginnings.
    """

    id: Name | None = None
    config: dict[str, Any] | None = None
    hf_quant_config: dict[str, Any] | None = None
    safetensors: dict[str, Any] | None = None
    card: Card | None = None
    gguf: Base64 | list[Base64] | None = None
    assume: Name | None = None

    def __post_init__(self) -> None:
        given = [self.id, self.config, self.card, self.gguf]
        if sum(form is not None for form in given) != 1:
            msg = "a model is exactly one of `id`, `config`, `card` and `gguf`"
            raise ValueError(msg)
        for name in ("hf_quant_config", "safetensors", "assume"):
            if getattr(self, name) is not None and self.config is None:
                msg = f"`{name}` belongs to a `config`"
                raise ValueError(msg)


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is served at once: `sequences` over the whole deployment, of `context_tokens` each.

    `input_tokens` and `output_tokens` describe a typical request, for speed; together they fit
    the context. `prefix_hit` is the share of its prompt that is found in the cache, and
    `draft_acceptance` the chance that a drafted token is right (0.85 if nothing is said).
    """

    context_tokens: Tokens
    sequences: Sequences = 1
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    prefix_hit: Part = 0.0
    draft_acceptance: Part | None = None

    @property
    def request_tokens(self) -> int:
        """Tokens of a typical request, 0 where it is not described."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


CARD_OVERHEAD = 0.10
"""What the public card adds to weights."""


class MemoryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much memory a model takes, on one device or on every rank of a split.

    `layers_by_stage` says how many layers each pipeline stage has, as a plan does; left out, the
    engine divides them itself.
    """

    model: ModelRef
    workload: Workload
    quantization: Name | None = None
    kv_cache_dtype: Name | None = None
    method: Method = "architecture"
    overhead: Share = CARD_OVERHEAD
    engine: EngineChoice | None = None
    split: Split | None = None
    layers_by_stage: LayerList | None = None
    accelerator: Name | Accelerator | None = None


class RankMemory(msgspec.Struct, frozen=True, kw_only=True):
    """One rank's memory; `total_bytes` is the sum of the four parts before it.

    `budget_bytes` is what the engine may use of the device, where an accelerator is known.
    """

    rank: int
    stage: int
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    overhead_bytes: int
    total_bytes: int
    kv_cache_bytes_per_token: int
    budget_bytes: int | None = None


class Fits(msgspec.Struct, frozen=True):
    """The class of hardware the total fits; exactly one is true."""

    consumer_24gb: bool
    datacenter_80gb: bool
    cluster: bool


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What is left for KV cache on the data rank that has least.

    `kv_cache_tokens` is rounded down to blocks, per device, as the engine's log prints it;
    `sequences` is for the whole deployment at the question's context.
    """

    kv_cache_bytes: int
    kv_cache_tokens: int
    sequences: int


class MemoryTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One term of the fullest rank: exact by arithmetic, or modelled within a band."""

    name: str
    bytes: int
    known: Literal["exact", "modelled"]
    low_bytes: int
    high_bytes: int
    source: str


class LargestRank(msgspec.Struct, frozen=True, kw_only=True):
    """The rank that takes most, and what it holds that others do not."""

    rank: int
    stage: int
    reason: str


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The question turned round, everything else as asked.

    `longest_context_tokens` for the workload's sequences (0: none, at most the model's),
    `most_sequences` at its context, and the `smallest_gpu_memory_utilization` that holds it
    (None: none does, or the engine takes none). Each fits when it is asked for in turn, and one
    token, sequence or thousandth further does not. Of what an engine does not start there is none.
    """

    longest_context_tokens: int
    most_sequences: int
    smallest_gpu_memory_utilization: float | None


class MemoryAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Memory of the whole deployment, rank by rank; the five sums run over all ranks.

    `terms` are those of the largest rank and sum to its total; `unbudgeted_terms` are what the
    engine takes afterwards, out of what its budget leaves of the device.
    """

    total_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    overhead_bytes: int
    fits: Fits
    ranks: tuple[RankMemory, ...]
    method: Method
    warnings: tuple[str, ...]
    feasible: bool | None = None
    rejections: tuple[Rejection, ...] | None = None
    capacity: Capacity | None = None
    largest_rank: LargestRank | None = None
    terms: tuple[MemoryTerm, ...] = ()
    unbudgeted_terms: tuple[MemoryTerm, ...] = ()
    reach: Reach | None = None


class Cell(msgspec.Struct, frozen=True):
    """One figure of a model's memory table."""

    context_tokens: int
    total_bytes: int
    fits: Fits


class Row(msgspec.Struct, frozen=True):
    """One quantization scheme's line of a model's memory table."""

    quantization: str
    cells: tuple[Cell, ...]


class MemoryTable(msgspec.Struct, frozen=True):
    """A model's memory by scheme and context, as a public card prints it."""

    model: str
    method: Method
    overhead: float
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()


class InspectRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is made of, in its own scheme or in `quantization`."""

    model: ModelRef
    quantization: Name | None = None
    kv_cache_dtype: Name | None = None
    engine: EngineChoice | None = None


class TensorLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tensors of one name: `count` of them, each of `shape`, in `scheme`."""

    name: str
    count: int
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    scheme: str
    component: Component


class KvCacheLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What a token and a sequence add to the KV cache of one unsharded replica.

    `bytes_per_token` is marginal, beyond every sliding window; `bytes_per_sequence` the
    constant part (recurrent state, full windows).
    """

    dtype: str
    bytes_per_token: int
    bytes_per_sequence: int


class InspectAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is made of: parameters, bytes of its checkpoint, cache layout, tensors."""

    id: str | None
    name: str
    architecture: str
    parameters: Parameters
    checkpoint_bytes: int
    kv_cache: KvCacheLayout
    tensors: tuple[TensorLine, ...]
    warnings: tuple[str, ...]


def gib(size: int) -> str:
    """A size for people, in GiB with one decimal."""
    return f"{size / (1 << 30):,.1f}"
