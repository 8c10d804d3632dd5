"""Which scheme each tensor is stored in, as ordered rules, and the bytes that makes."""

from collections.abc import Hashable, Iterable, Iterator
from math import ceil
from typing import Literal, Protocol

import msgspec

from rackfit.architecture.model import Component, Shard, Tensor
from rackfit.architecture.quantization.patterns import ModuleName, Patterns, compile_patterns
from rackfit.catalog.entries import Scheme

DECODER: frozenset[Component] = frozenset(
    {"attention", "dense_feed_forward", "routed_experts", "shared_experts", "draft"}
)
"""Components whose linear layers quantizers convert unless told otherwise."""

WITH_TOWERS: frozenset[Component] = DECODER | {"vision"}
"""The same of quantizers that convert every linear layer there is, towers' too."""

Reach = Literal["linear", "matrix", "every"]
"""The tensors a rule is about: matrices of linear layers, every matrix, or every tensor."""


class Depth(msgspec.Struct, frozen=True, gc=False):
    """How many layers a model has, and how many draft layers are numbered after them."""

    layers: int
    draft: int = 0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors that share a scheme: those within reach, of a part, of a name, in a layer.

    What is None does not restrict. `everywhere` tells that the rule holds in every layer of
    the main model, and so need not be asked by layer.
    """

    scheme: str
    reach: Reach
    components: frozenset[Component] | None = None
    shard: Shard | None = None
    names: Patterns | None = None
    layers: frozenset[int] | None = None
    everywhere: bool = True

    def reaches(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is within reach, whatever its name."""
        if self.reach == "linear" and not tensor.linear:
            return False
        if self.components is not None and tensor.component not in self.components:
            return False
        if self.shard is not None and tensor.shard != self.shard:
            return False
        return self.reach != "matrix" or len(tensor.shape) == 2  # noqa: PLR2004 - a matrix

    def names_it(self, name: ModuleName, layer: int | None) -> bool:
        """Tell whether the rule means a module of a layer (None: outside, or of any)."""
        number = layer if name.layer is None else name.layer
        in_layer = self.everywhere
        if self.layers is not None and number is not None:
            in_layer = number in self.layers
        return in_layer and (self.names is None or self.names.match(name))


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint stores: the first rule that holds gives the scheme, else `default`.

    A tensor with a type of its own keeps it. `kv_cache_dtype` is what the checkpoint was
    calibrated for, None where it names none. While `layer_dependent` is False the answer is
    the same for every layer. `made_from` is what the checkpoint itself stores, where it is
    served in a scheme of the caller's choice.
    """

    default: str
    rules: tuple[Rule, ...] = ()
    kv_cache_dtype: str | None = None
    layer_dependent: bool = False
    outside: frozenset[Component] = frozenset()
    made_from: "Storage | None" = None

    def scheme_of(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the id of the scheme a tensor is stored in.

        Args:
            tensor: the tensor; a number in its name (`model.layers.61.…` of a draft) counts
                before `layer`.
            layer: number of the layer it stands in, from 0; needed where `layer_dependent`.
        """
        if tensor.dtype is not None:
            return tensor.dtype
        name: ModuleName | None = None
        for rule in self.rules:
            if not rule.reaches(tensor):
                continue
            if rule.names is None and rule.layers is None:
                return rule.scheme
            name = name or ModuleName.of(tensor.name)
            if rule.names_it(name, layer):
                return rule.scheme
        return self.default

    @property
    def schemes(self) -> frozenset[str]:
        """Every scheme anything may be stored in."""
        return frozenset({self.default, *(rule.scheme for rule in self.rules)})

    def layer_signature(self, layer: int) -> tuple[bool, ...]:
        """Which of the rules about single layers are about this one: alike, stored alike."""
        return tuple(layer in rule.layers for rule in self.rules if rule.layers is not None)


class Storage(Protocol):
    """What is asked of anything that knows how each tensor is stored."""

    @property
    def kv_cache_dtype(self) -> str | None:
        """The type of KV cache the checkpoint was calibrated for."""

    @property
    def made_from(self) -> "Storage | None":
        """What the checkpoint stores, where this is a choice of the caller's."""

    @property
    def layer_dependent(self) -> bool:
        """Whether layers of one kind may be stored differently."""

    @property
    def outside(self) -> frozenset[Component]:
        """Parts that are not in the checkpoint's own file."""

    def scheme_of(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the id of the scheme a tensor is stored in."""

    def layer_signature(self, layer: int) -> tuple[Hashable, ...]:
        """Return what sets a layer's storage apart: alike, stored alike."""


def listed(
    scheme: str,
    patterns: Iterable[tuple[str, str]],
    depth: Depth,
    reach: Reach = "matrix",
) -> Iterator[Rule]:
    """Yield the rules of a list of modules, each with its JSON Pointer.

    Raises:
        InvalidInput: at the pointer of a pattern that cannot be read.
    """
    main = frozenset(range(depth.layers))
    for layers, names in compile_patterns(patterns, depth.layers + depth.draft).items():
        yield Rule(
            scheme=scheme,
            reach=reach,
            names=names,
            layers=layers,
            everywhere=layers is None or layers >= main,
        )


def depends_on_layer(rules: Iterable[Rule], depth: Depth) -> bool:
    """Tell whether some rule holds in some layers of the main model and not in others."""
    main = range(depth.layers)
    return any(
        not rule.everywhere and rule.layers is not None and not rule.layers.isdisjoint(main)
        for rule in rules
    )


def converted(scheme: str, components: frozenset[Component] = DECODER) -> Rule:
    """Return the rule that converts the linear layers of `components`."""
    return Rule(scheme=scheme, reach="linear", components=components)


def override(scheme: Scheme, dtype: str, own: Storage) -> Quantization:
    """Return what serving a model in the caller's own choice of scheme stores, instead of `own`.

    A plain scheme is the type of every tensor; any other converts the decoder's linear layers
    and leaves the rest in `dtype`. GGUF's types are assigned by `gguf.conversion`. The
    checkpoint's own scheme keeps the KV cache that was calibrated with it.
    """
    plain = scheme.kind == "plain"
    held = checkpoint_schemes(own)
    is_own = held == {scheme.id} if plain else scheme.id in held
    return Quantization(
        default=scheme.id if plain else dtype,
        rules=() if plain else (converted(scheme.id),),
        kv_cache_dtype=own.kv_cache_dtype if is_own else None,
        made_from=own,
    )


def checkpoint(stored: Storage) -> Storage:
    """Return what the checkpoint itself stores, whatever it is served in."""
    return stored.made_from or stored


def checkpoint_schemes(own: Storage) -> frozenset[str]:
    """Every scheme of a checkpoint; none of a GGUF."""
    return own.schemes if isinstance(own, Quantization) else frozenset()


def tiles(scheme: Scheme, rows: int, columns: int) -> int:
    """Return how many tiles a matrix has, each with a scale of its own."""
    tall, wide = scheme.scale_rows, scheme.scale_columns
    return (-(-rows // tall) if tall else 1) * (-(-columns // wide) if wide else 1)


def scale_bytes(scheme: Scheme, rows: int, columns: int) -> float:
    """Return the bytes of a matrix' scales and zero points."""
    return tiles(scheme, rows, columns) * scheme.scale_bytes if scheme.scale_bytes else 0


def stored_bytes(tensor: Tensor, scheme: Scheme, elements: int | None = None) -> int:
    """Return the bytes of all copies of a tensor in one layer, weights and scales.

    Blocks and tiles that a matrix does not fill are rounded up, copy by copy; a tensor of
    more than two dimensions is a matrix of its last. `elements` are the tensor's, where they
    were counted already.
    """
    if elements is None:
        elements = tensor.elements
    if scheme.kind == "plain":
        return ceil(elements * scheme.block_bytes)
    elements //= tensor.copies
    columns = tensor.shape[-1] if tensor.shape else 1
    size = -(-elements // scheme.block_elements) * scheme.block_bytes
    size += scale_bytes(scheme, elements // columns, columns)
    size += columns * scheme.column_bytes + scheme.tensor_bytes
    return tensor.copies * ceil(size)
