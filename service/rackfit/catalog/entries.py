"""The catalog's entries: models, accelerators and quantization schemes, each with sources."""

from typing import Annotated, Any, Literal

import msgspec

Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

MEMORY_TOLERANCE = 0.04
"""How far a device's memory may differ from the catalog's: early GPU feature discovery labelled
what CUDA sees, 3.5 % less than nvidia-smi prints (39538 of 40960 MiB, its README)."""


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accelerator as a node's operator meets it.

    `id` is the GPU-feature-discovery label, `name` what the driver's tool prints, `aliases`
    other names operators see. `product` is the name that several parts go by (`h100`), which
    `form` and `capacity_gb` tell apart: how it is built in (`sxm5`, `pcie`, `nvl`, `oam`) and
    the capacity it is sold by, in the vendor's GB. Of the parts that a name may mean, the one
    of the highest `precedence` is read; the answer carries a warning then.
    `reported_bytes` is what the driver's tool prints as total memory, `usable_bytes` what an
    engine sees; with `unified_memory` the CPU uses the same, and the tool prints no total.
    `flops` are dense operations a second by number type ("bf16", "fp8", "fp4", "int8");
    bandwidths are bytes a second per device and direction. `mig` says that the part can be
    divided into MIG instances. `domain_size` is the number of devices in its largest scale-up
    domain, `node_size` that of a usual node. A node is always at least one domain: devices
    joined by PCIe alone, or by bridges in pairs, run tensor parallelism over PCIe, whose
    bandwidth is then their `scale_up_bandwidth`. A part that is alone in its node has no
    scale-up links: both bandwidths are its network's.
    """

    id: Name
    usable_bytes: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 50)]
    reported_bytes: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 50)] | None = None
    name: str = ""
    vendor: str = ""
    generation: str = ""
    kind: Literal["datacenter", "workstation", "consumer"] = "datacenter"
    product: str = ""
    form: str = ""
    capacity_gb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    precedence: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    mig: bool = False
    unified_memory: bool = False
    memory_bandwidth: Rate = 0
    flops: dict[str, Rate] = {}
    scale_up_bandwidth: Rate = 0
    scale_out_bandwidth: Rate = 0
    domain_size: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 8
    node_size: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    aliases: list[str] = []
    sources: list[str] = []
    notes: list[str] = []

    @property
    def printed_bytes(self) -> int:
        """What the driver's tool prints; where it prints none, what an engine sees."""
        return self.reported_bytes or self.usable_bytes


class Scheme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantization scheme: how a matrix of weights is stored.

    A matrix of r x c elements takes r x c / `block_elements` x `block_bytes` bytes, one
    scale of `scale_bytes` per `scale_rows` x `scale_columns` tile (0: the whole side), of which
    `zero_bytes` are a zero point that says nothing (weights being symmetric), `column_bytes` per
    column (input), and `tensor_bytes` once. `column_order` tells that a column's bytes name its
    group, columns being in "plain" order or "sorted" by activations. `operands` is
    the number type its matrices are multiplied in where an accelerator has it (`"bf16"`: converted
    up before). `bits_per_weight` is the published average with scales included;
    `card_bytes_per_weight` the nominal figure of the public card's rule of thumb, where it has one.
    `covers` says what is converted: the decoder's linear layers, or every matrix. Schemes of kind
    "index" store tables beside the weights; no model is served in one.
    """

    id: Name
    name: str
    kind: Literal["plain", "index", "scaled", "gguf", "gguf-mixture"]
    bits_per_weight: float
    block_elements: int = 1
    block_bytes: float = 2
    scale_rows: int = 0
    scale_columns: int = 0
    scale_bytes: float = 0
    zero_bytes: float = 0
    column_bytes: int = 0
    column_order: Literal["none", "plain", "sorted"] = "none"
    tensor_bytes: int = 0
    covers: Literal["linear", "all"] = "linear"
    operands: Literal["bf16", "fp8", "fp4", "int8"] = "bf16"
    card_bytes_per_weight: float | None = None
    aliases: list[str] = []
    engines: list[str] = []
    sources: list[str] = []


class Efficiency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one engine reaches of the modelled speed in one phase on one generation of devices.

    `factor` is modelled over measured seconds (1: as modelled). Of the `points` it was fitted
    on, one in ten took less than `low` times the estimate's seconds, one in ten more than `high`.
    """

    engine: Name
    generation: Name
    phase: Literal["prefill", "decode"]
    factor: Annotated[float, msgspec.Meta(gt=0)]
    low: Annotated[float, msgspec.Meta(gt=0)]
    high: Annotated[float, msgspec.Meta(gt=0)]
    points: Annotated[int, msgspec.Meta(ge=1)]


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as a public card describes it, which is not a config and may contradict itself.

    `attention`, `rope`, `activation` and `norm` are the card's own words. Widths are in
    elements; `parameters` and `active_parameters` are counts.
    """

    parameters: Annotated[int, msgspec.Meta(ge=1_000_000, le=10**15)]
    layers: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    hidden_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    heads: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    kv_heads: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    head_dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    context_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    active_parameters: Annotated[int, msgspec.Meta(ge=1, le=10**15)] | None = None
    experts: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)] = 0
    experts_per_token: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)] = 0
    vocabulary_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 26)] | None = None
    attention: str = ""
    rope: str = ""
    activation: str = ""
    norm: str = ""
    uses: list[str] = []


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A catalog model: exactly one of `config` (published config.json) and `card`.

    `id` is the repository's name for a checkpoint; `related` names entries of the same model
    in another form. `released` is an ISO date.
    """

    id: Name
    name: str
    family: str
    developer: str
    licence: str
    released: str | None = None
    config: dict[str, Any] | None = None
    hf_quant_config: dict[str, Any] | None = None
    card: Card | None = None
    aliases: list[str] = []
    related: list[str] = []
    warnings: list[str] = []
    sources: list[str] = []
