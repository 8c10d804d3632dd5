"""The tensors of a GGUF header as those of an architecture, each with the type it is stored in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import msgspec

from rackfit.architecture.gguf.header import TensorInfo
from rackfit.architecture.model import Component, Shard, Tensor
from rackfit.architecture.quantization.rules import Storage
from rackfit.errors import InvalidInput

_BLOCK = re.compile(r"blk\.(\d{1,6})\.(.+)\Z", re.ASCII)
_APART = re.compile(r"(ffn_(?:gate|up|down))\.\d+\.weight\Z", re.ASCII)  # files before March 2024

Part = tuple[Component, Shard]

BLOCKS: Mapping[str, Part] = {
    **dict.fromkeys(("attn_q", "attn_q_b", "attn_sinks"), ("attention", "heads")),
    "attn_output": ("attention", "attention_output"),
    **dict.fromkeys(("attn_k_b", "attn_v_b", "attn_kv_b", "attn_gate"), ("attention", "heads")),
    **dict.fromkeys(("attn_k", "attn_v"), ("attention", "kv_heads")),
    "attn_qkv": ("attention", "qkv"),
    **dict.fromkeys(("attn_q_a", "attn_kv_a_mqa"), ("attention", "replicated")),
    **dict.fromkeys(("ffn_gate", "ffn_up", "ffn_down"), ("dense_feed_forward", "feed_forward")),
    **dict.fromkeys(
        ("ffn_gate_exps", "ffn_up_exps", "ffn_gate_up_exps", "ffn_down_exps"),
        ("routed_experts", "experts"),
    ),
    **dict.fromkeys(
        ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"), ("shared_experts", "shared_experts")
    ),
    "ffn_gate_inp_shexp": ("shared_experts", "replicated"),
    **dict.fromkeys(("ffn_gate_inp", "exp_probs_b"), ("router", "replicated")),
}
OUTER: Mapping[str, Part] = {
    "token_embd": ("embedding", "vocabulary"),
    "per_layer_token_embd": ("embedding", "vocabulary"),
    "position_embd": ("embedding", "replicated"),
    "output": ("head", "vocabulary"),
}
BUFFERS = ("rope_freqs", "rope_factors_long", "rope_factors_short", "exp_probs_b")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What a header says that a file stores: a scheme for each tensor, by name.

    `layers` holds those of each layer under names with `*` for its number, `outer` the rest.
    """

    layers: tuple[Mapping[str, str], ...]
    outer: Mapping[str, str]
    kv_cache_dtype: str | None = None
    made_from: Storage | None = None
    layer_dependent: bool = True
    outside: frozenset[Component] = frozenset()

    def scheme_of(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the id of the scheme a tensor is stored in."""
        return (self.outer if layer is None else self.layers[layer])[tensor.name]

    def layer_signature(self, layer: int) -> tuple[str, ...]:
        """Return the schemes of a layer's tensors, in the order of the file."""
        return tuple(self.layers[layer].values())


class Found(msgspec.Struct, frozen=True):
    """A file's tensors: each layer's, those outside, those of the draft; and their schemes."""

    layers: tuple[tuple[Tensor, ...], ...]
    outer: tuple[Tensor, ...]
    draft: tuple[Tensor, ...]
    storage: Listed


def sort_out(infos: Iterable[TensorInfo], layers: int, *, pointer: str) -> Found:
    """Sort a header's tensors by the layer they stand in; those beyond `layers` are the draft's.

    Raises:
        InvalidInput: at `pointer`, where a layer has no tensors.
    """
    blocks: list[dict[str, tuple[Tensor, str]]] = [{} for _ in range(layers)]
    outer: dict[str, tuple[Tensor, str]] = {}
    for info in infos:
        number, rest = _place(info.name)
        if number is None or number >= layers:
            tensor = _outer(info) if number is None else _draft(info, rest)
            outer[tensor.name] = (tensor, info.scheme)
            continue
        tensor = _of_block(info, rest)
        known = blocks[number].get(tensor.name)
        blocks[number][tensor.name] = (_joined(known, tensor), info.scheme)
    for number, block in enumerate(blocks):
        if not block:
            detail = f"The header names no tensor of layer {number}, of {layers} layers."
            raise InvalidInput.at(pointer, detail)
    return _found(blocks, outer)


def _found(
    blocks: Sequence[Mapping[str, tuple[Tensor, str]]], outer: Mapping[str, tuple[Tensor, str]]
) -> Found:
    return Found(
        layers=tuple(tuple(tensor for tensor, _ in block.values()) for block in blocks),
        outer=tuple(t for t, _ in outer.values() if t.component != "draft"),
        draft=tuple(t for t, _ in outer.values() if t.component == "draft"),
        storage=Listed(
            layers=tuple({n: scheme for n, (_, scheme) in block.items()} for block in blocks),
            outer={n: scheme for n, (_, scheme) in outer.items()},
        ),
    )


def _place(name: str) -> tuple[int | None, str]:
    """Return the layer's number and the rest of a name."""
    found = _BLOCK.match(name)
    return (None, name) if found is None else (int(found[1]), found[2])


def _joined(known: tuple[Tensor, str] | None, tensor: Tensor) -> Tensor:
    """Count the experts that old files keep apart."""
    if known is None:
        return tensor
    return msgspec.structs.replace(tensor, copies=known[0].copies + tensor.copies)


def _of_block(info: TensorInfo, rest: str) -> Tensor:
    apart = _APART.match(rest)
    if apart is not None:
        name = f"blk.*.{apart[1]}.*.weight"
        return _tensor(info, name, ("routed_experts", "experts"))
    stem, _, suffix = rest.rpartition(".") if "." in rest else (rest, "", "")
    part = BLOCKS.get(stem) or _other(stem)
    if stem == "attn_output" and suffix == "bias":
        part = ("attention", "replicated")
    return _tensor(info, f"blk.*.{rest}", part)


def _other(stem: str) -> Part:
    """Return the part of a block's tensor by how its name begins or ends."""
    if stem.endswith(("norm", "norm_1", "norm_2")):
        return "norm", "replicated"
    if stem.startswith(("ssm_", "indexer.", "attn_")):
        return "attention", "replicated" if stem.startswith("indexer.") else "heads"
    return "other", "replicated"


def _outer(info: TensorInfo) -> Tensor:
    stem = info.name.rpartition(".")[0] or info.name
    norm: Part = ("norm", "replicated")
    part = OUTER.get(stem, norm if stem.endswith("norm") else ("other", "replicated"))
    return _tensor(info, info.name, part)


def _draft(info: TensorInfo, rest: str) -> Tensor:
    shard: Shard = "experts" if "_exps" in rest else "replicated"
    return _tensor(info, info.name, ("draft", shard))


def _tensor(info: TensorInfo, name: str, part: Part) -> Tensor:
    component, shard = part
    *rows, columns = reversed(info.dimensions)
    copies = 1
    if "_exps." in name:  # experts are stacked; their biases are a row each
        copies, rows = rows[0] if rows else 1, rows[1:]
    shape = (prod(rows), columns) if rows else (columns,)
    stem = name.rpartition(".")[0]
    return Tensor(
        name=name,
        shape=shape,
        component=component,
        shard=shard,
        copies=copies,
        linear=bool(rows) and component not in ("embedding", "norm", "other"),
        buffer=stem.rpartition(".")[2] in BUFFERS,
    )
