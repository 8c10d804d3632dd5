"""A model as it is served: what engines reason about."""

from collections.abc import Hashable, Mapping
from typing import Self

import msgspec

from rackfit.architecture.model import (
    Architecture,
    Attention,
    CompressedAttention,
    Layer,
    Shard,
    Tensor,
    counted_blocks,
)
from rackfit.architecture.parameters import count_parameters
from rackfit.architecture.quantization import Storage, stored_bytes
from rackfit.architecture.quantization.rules import checkpoint
from rackfit.architecture.stored import scaled_as_checkpoint, stored_as
from rackfit.catalog.entries import Scheme
from rackfit.engines.cache_layout import CacheTerm, layer_terms
from rackfit.lazy import cached_property

FIRST_STAGE = ("embedding", "vision")
"""Components outside the layers that live on the first pipeline stage; the rest on the last."""


def by_columns(tensor: Tensor, hidden: int) -> bool:
    """Tell whether ranks divide a matrix' columns: what leads back into the model's width."""
    return not tensor.fused and tensor.shape[0] == hidden


def own_cache_dtype(architecture: Architecture, stored: Storage, scheme: Scheme | None) -> str:
    """The KV cache type that is kept unasked: the one calibrated for, else that which computes.

    Compressed attention (DeepSeek-V4) caches fp8 rows by design. `scheme` is the caller's choice.
    """
    compressed = any(isinstance(k.attention, CompressedAttention) for k in architecture.kinds)
    plain = architecture.dtype if scheme is None or scheme.kind != "plain" else scheme.id
    return stored.kv_cache_dtype or ("fp8" if compressed else plain)


class StoredTensor(msgspec.Struct, frozen=True, gc=False):
    """A tensor, and the bytes and elements of all its copies in one layer as stored."""

    tensor: Tensor
    scheme: Scheme
    stored_bytes: int
    elements: int


class StoredBlock(msgspec.Struct, frozen=True):
    """The tensors of a block of layers as they are stored.

    `routed` are those spread over the ranks by experts, `plain` the others.
    """

    tensors: tuple[StoredTensor, ...]
    routed: tuple[StoredTensor, ...]
    plain: tuple[StoredTensor, ...]

    @classmethod
    def of(cls, tensors: tuple[StoredTensor, ...]) -> Self:
        """The block of these tensors."""
        routed = tuple([s for s in tensors if s.tensor.shard == "experts"])
        plain = tuple([s for s in tensors if s.tensor.shard != "experts"]) if routed else tensors
        return cls(tensors, routed, plain)

    @property
    def stored_bytes(self) -> int:
        """Bytes in one layer."""
        return sum([s.stored_bytes for s in self.tensors])


class ServedModel(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An architecture, the scheme each tensor is stored in and the type of its KV cache.

    `scheme` is the caller's choice, None where the checkpoint's own is served; `cache_chosen`
    tells that the cache's type is, which then stays whatever the weights are in.
    """

    architecture: Architecture
    storage: Storage
    schemes: Mapping[str, Scheme]
    kv_cache_dtype: str
    name: str
    scheme: Scheme | None = None
    cache_chosen: bool = False

    def stored_as(self, scheme: Scheme) -> "ServedModel":
        """Return this model as it is where a request names another scheme, its cache too."""
        own = checkpoint(self.storage)
        scheme = scaled_as_checkpoint(scheme, own, self.schemes)
        architecture, storage = stored_as(self.architecture, scheme, own)
        cached_as = self.kv_cache_dtype
        if not self.cache_chosen:
            cached_as = own_cache_dtype(architecture, storage, scheme)
        return msgspec.structs.replace(
            self,
            architecture=architecture,
            storage=storage,
            scheme=scheme,
            kv_cache_dtype=cached_as,
        )

    def caching(self, kv_cache_dtype: str) -> "ServedModel":
        """Return this model with a KV cache of another type; what is known of weights is kept."""
        other = msgspec.structs.replace(self, kv_cache_dtype=kv_cache_dtype, cache_chosen=True)
        kept = ((name, value) for name, value in vars(self).items() if name != "_cache_terms")
        vars(other).update(kept)
        return other

    @property
    def dtype(self) -> str:
        """The plain type that computes: the chosen scheme's where it is plain, else the model's."""
        if self.scheme is not None and self.scheme.kind == "plain":
            return self.scheme.id
        return self.architecture.dtype

    @cached_property
    def kinds(self) -> tuple[Layer, ...]:
        """Each distinct kind of layer, split further where storage differs by layer."""
        return self._distinct[0]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """For every layer the index of its kind in `kinds`."""
        return self._distinct[1]

    @cached_property
    def counts_before(self) -> tuple[tuple[int, ...], ...]:
        """Layers of each kind before each cut: before the first layer, ..., after the last."""
        counts = [0] * len(self.kinds)
        before = [tuple(counts)]
        for kind in self.order:
            counts[kind] += 1
            before.append(tuple(counts))
        return tuple(before)

    def cache_terms(self, tensor: int) -> tuple[tuple[CacheTerm, ...], ...]:
        """The cache terms of one layer of each kind on one of `tensor` ranks."""
        known = self._cache_terms.get(tensor)
        if known is None:
            each = {id(a): a for a in [kind.attention for kind in self.kinds]}
            terms = {at: self._layer_terms(attention, tensor) for at, attention in each.items()}
            known = tuple([terms[id(kind.attention)] for kind in self.kinds])
            self._cache_terms[tensor] = known
        return known

    def _layer_terms(self, attention: Attention | None, tensor: int) -> tuple[CacheTerm, ...]:
        dtype, cached_as = self.dtype, self.kv_cache_dtype
        return layer_terms(attention, kv_cache_dtype=cached_as, dtype=dtype, tensor=tensor)

    @cached_property
    def _cache_terms(self) -> dict[int, tuple[tuple[CacheTerm, ...], ...]]:
        return {}

    @cached_property
    def kind_counts(self) -> tuple[int, ...]:
        """How many layers there are of each kind, in the order of `kinds`."""
        if self.order is self.architecture.order:
            return self.architecture.kind_counts
        return tuple(map(self.order.count, range(len(self.kinds))))

    @cached_property
    def layer_blocks(self) -> tuple[tuple[StoredBlock, ...], ...]:
        """The blocks of one layer of each kind, in the order of `kinds`."""
        return self._distinct[2]

    @cached_property
    def layer_tensors(self) -> tuple[tuple[StoredTensor, ...], ...]:
        """The stored tensors of one layer of each kind, in the order of `kinds`."""
        return tuple(tuple([s for b in blocks for s in b.tensors]) for blocks in self.layer_blocks)

    @cached_property
    def blocks(self) -> tuple[tuple[int, StoredBlock], ...]:
        """Each block once, with the number of layers it stands in."""
        return counted_blocks(self.kind_counts, self.layer_blocks)

    @cached_property
    def outer(self) -> tuple[StoredTensor, ...]:
        """The stored tensors outside the layers."""
        return self._stored(self.architecture.outer)

    @cached_property
    def draft(self) -> tuple[StoredTensor, ...]:
        """The stored tensors of multi-token-prediction layers."""
        return self._stored(self.architecture.draft)

    @cached_property
    def used_schemes(self) -> tuple[Scheme, ...]:
        """Every scheme some tensor is stored in, in order of first use.

        A mixture the caller chose stands for its block types: engines load it or they do not.
        """
        if self.scheme is not None and self.scheme.kind == "gguf-mixture":
            return (self.scheme,)
        blocks = {id(block): block.tensors for kind in self.layer_blocks for block in kind}
        held = (*blocks.values(), self.outer)
        return tuple({s.scheme.id: s.scheme for tensors in held for s in tensors}.values())

    @cached_property
    def weights_bytes(self) -> int:
        """Bytes of all tensors that are served, each once."""
        layers = sum(count * block.stored_bytes for count, block in self.blocks)
        return layers + sum(s.stored_bytes for s in self.outer)

    @cached_property
    def checkpoint_bytes(self) -> int:
        """Bytes of all tensors of the checkpoint's own file, the draft's too."""
        aside = self.storage.outside
        kept = (s for s in (*self.outer, *self.draft) if s.tensor.component not in aside)
        layers = self.weights_bytes - sum(s.stored_bytes for s in self.outer)
        return layers + sum(s.stored_bytes for s in kept)

    @cached_property
    def active_parameters(self) -> int:
        """Parameters one token passes."""
        return count_parameters(self.architecture).active

    @cached_property
    def expert_schemes(self) -> tuple[Scheme, ...]:
        """Every scheme matrices of routed experts are stored in."""
        stored = [s for _, block in self.blocks for s in block.tensors if s.tensor.linear]
        routed = [s.scheme for s in stored if s.tensor.component == "routed_experts"]
        return tuple({s.id: s for s in routed}.values())

    @cached_property
    def dense_tile(self) -> int:
        """Side of the square tiles that dense feed-forwards are scaled by; 1 without such."""
        tiles = (
            s.scheme.scale_columns
            for _, block in self.blocks
            for s in block.tensors
            if s.tensor.component == "dense_feed_forward"
            and s.scheme.scale_rows == s.scheme.scale_columns
        )
        return max(tiles, default=1) or 1

    @cached_property
    def column_divided(self) -> tuple[tuple[Shard, int, Scheme], ...]:
        """Columns and scheme of each plain matrix that leads back, and what divides it."""
        hidden = self.architecture.hidden_size
        plain = [s for _, block in self.blocks for s in block.plain if s.tensor.linear]
        back = [(s.tensor, s.scheme) for s in plain if by_columns(s.tensor, hidden)]
        found = {(t.shard, t.shape[-1], scheme.id): scheme for t, scheme in back}
        return tuple((shard, columns, found[shard, columns, at]) for shard, columns, at in found)

    @cached_property
    def _distinct(
        self,
    ) -> tuple[tuple[Layer, ...], tuple[int, ...], tuple[tuple[StoredBlock, ...], ...]]:
        layers = self.architecture.kinds
        if not self.storage.layer_dependent:
            # Kinds share blocks, by identity: the architecture keeps them alive.
            blocks = {id(block): block for layer in layers for block in layer.blocks}
            known = {at: StoredBlock.of(self._stored(block)) for at, block in blocks.items()}
            held = [tuple([known[id(b)] for b in layer.blocks]) for layer in layers]
            return layers, self.architecture.order, tuple(held)
        found: dict[tuple[int, tuple[Hashable, ...]], int] = {}
        first: list[int] = []
        order = []
        for number, kind in enumerate(self.architecture.order):
            shape = (kind, self.storage.layer_signature(number))
            if shape not in found:
                first.append(number)
            order.append(found.setdefault(shape, len(found)))
        distinct = tuple(layers[self.architecture.order[number]] for number in first)
        pairs = zip(distinct, first, strict=True)
        stored = tuple(
            tuple(StoredBlock.of(self._stored(block, number)) for block in layer.blocks)
            for layer, number in pairs
        )
        return distinct, tuple(order), stored

    def _stored(
        self, tensors: tuple[Tensor, ...], layer: int | None = None
    ) -> tuple[StoredTensor, ...]:
        schemes, scheme_of = self.schemes, self.storage.scheme_of
        found = []
        for tensor in tensors:
            scheme, elements = schemes[scheme_of(tensor, layer)], tensor.elements
            size = stored_bytes(tensor, scheme, elements)
            found.append(StoredTensor(tensor, scheme, size, elements))
        return tuple(found)
