"""Where tensors stand in a model, as llama.cpp's quantizer counts them while it goes through it."""

from itertools import accumulate

import msgspec

from rackfit.architecture.gguf.recipes import Place
from rackfit.architecture.gguf.roles import Role, converts, role_of
from rackfit.architecture.model import (
    Architecture,
    Component,
    GroupedAttention,
    LatentAttention,
    Tensor,
)
from rackfit.lazy import cached_property

# Architectures that llama.cpp takes for its 70B where they have 80 layers and grouped heads
# (src/models: llama, qwen2, deci), under the names their converters go by.
LARGE_LAYERS = 80
LARGE = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "DeciLMForCausalLM"),
        *("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
        *("llama", "qwen2"),
    }
)
BY_NAME: tuple[Component, ...] = ("dense_feed_forward", "routed_experts", "shared_experts")
"""Feed-forwards in the order of their names in a file: ffn_down, ffn_down_exps, ffn_down_shexp."""


class Positions(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The counters of llama-quantize over one architecture.

    `draft` tells that multi-token-prediction layers stand in the file, after the others.
    """

    architecture: Architecture
    draft: bool

    def place(self, role: Role, tensor: Tensor, layer: int, *, running: bool) -> Place:
        """Return where a tensor of a layer stands among those of its role.

        In a mixture of experts a feed-forward is told by its layer, unless the file's rules keep
        a `running` count of tensors there too.
        """
        if role == "value":
            return self._at(self._values_before[layer], self._value_count)
        if role not in ("down", "up"):
            return self._at(0, self.layers)
        if self._experts > 1 and not running:
            return self._at(layer, self.layers)
        before = self._downs_before[layer]
        if role == "down" and tensor.component in BY_NAME:
            before += self._downs_aside(layer, BY_NAME.index(tensor.component))
        return self._at(before, self.layers)

    @cached_property
    def layers(self) -> int:
        """Blocks of the file."""
        return len(self.architecture.order) + self.draft * self.architecture.draft_layers

    def _at(self, number: int, count: int) -> Place:
        return Place(number, count, self._group, self._experts, self._large)

    @cached_property
    def _experts(self) -> int:
        experts = self.architecture.experts
        return experts.experts if experts else 0

    @cached_property
    def _group(self) -> int:
        """Query heads to a KV head; latent attention is converted to one KV head."""
        for kind in self.architecture.kinds:
            if isinstance(kind.attention, GroupedAttention):
                return kind.attention.heads // kind.attention.kv_heads
            if isinstance(kind.attention, LatentAttention):
                return kind.attention.heads
        return 1

    @cached_property
    def _large(self) -> bool:
        architecture = self.architecture
        return (
            len(architecture.order) == LARGE_LAYERS
            and architecture.name in LARGE
            and self._group > 1
        )

    @cached_property
    def _held(self) -> tuple[tuple[int, int, tuple[Component, ...]], ...]:
        """For each kind: value matrices, fused ones, and the components of its down matrices."""
        return tuple(_count(kind.tensors) for kind in self.architecture.kinds)

    @cached_property
    def _values_before(self) -> tuple[int, ...]:
        held = [self._held[kind][0] for kind in self.architecture.order]
        return (*accumulate(held, initial=0), *[sum(held)] * self.architecture.draft_layers)

    @cached_property
    def _downs_before(self) -> tuple[int, ...]:
        held = [len(self._held[kind][2]) for kind in self.architecture.order]
        return (*accumulate(held, initial=0), *[sum(held)] * self.architecture.draft_layers)

    @cached_property
    def _value_count(self) -> int:
        """Value and fused matrices of the whole file."""
        order = self.architecture.order
        drafted = self.draft * sum(_count(self.architecture.draft)[:2])
        return drafted + sum(sum(self._held[kind][:2]) for kind in order)

    def _downs_aside(self, layer: int, rank: int) -> int:
        order = self.architecture.order
        if layer >= len(order):
            return 0
        return sum(BY_NAME.index(c) < rank for c in self._held[order[layer]][2])


def _count(tensors: tuple[Tensor, ...]) -> tuple[int, int, tuple[Component, ...]]:
    roles = [(role_of(tensor), tensor.component) for tensor in tensors if converts(tensor)]
    return (
        sum(role == "value" for role, _ in roles),
        sum(role == "fused" for role, _ in roles),
        tuple(c for role, c in roles if role == "down" and c in BY_NAME),
    )
