"""The type of every tensor in a file that llama-quantize writes, layer by layer."""

import msgspec

from rackfit.architecture.gguf import falcon
from rackfit.architecture.gguf.positions import Positions
from rackfit.architecture.gguf.recipes import RECIPES, SMALLEST, Recipe
from rackfit.architecture.gguf.roles import Role, converts, role_of
from rackfit.architecture.gguf.types import FALLBACKS, LARGE_BLOCK, fitting
from rackfit.architecture.model import Architecture, Component, Tensor
from rackfit.architecture.quantization.patterns import ModuleName
from rackfit.architecture.quantization.rules import Quantization, Storage
from rackfit.lazy import cached_property

# Converters that keep multi-token-prediction layers as blocks after the last (conversion/glm.py).
KEEP_DRAFT = frozenset(
    {
        *("Glm4MoeForCausalLM", "GlmMoeDsaForCausalLM"),
        *("glm4moe", "glm-dsa"),
    }
)
PLAIN = frozenset({"f32", "bf16", "f16"})
BY_PLACE: tuple[Role, ...] = ("value", "down", "up")
"""Roles whose type depends on the layer."""


class GgufStorage(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What llama-quantize stores of an architecture in a file of one type.

    `architecture` is as converted (see `conversion`); `file_type` the scheme's id; `own` what a
    checkpoint with MXFP4 stores, of which that is taken over as it is. `made_from` as a
    `Quantization` has it.
    """

    architecture: Architecture
    file_type: str
    own: Quantization | None = None
    kv_cache_dtype: str | None = None
    made_from: Storage | None = None

    @property
    def layer_dependent(self) -> bool:
        """Whether layers may differ in their types."""
        return any(role in self._recipe.choices for role in BY_PLACE)

    @cached_property
    def outside(self) -> frozenset[Component]:
        """Parts in a file of their own or in none: the vision tower, and most drafts."""
        return frozenset({"vision"} if self._keeps_draft else {"vision", "draft"})

    def scheme_of(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the id of the scheme a tensor is stored in (see `Quantization`)."""
        if tensor.component == "vision":
            return self.architecture.dtype
        if tensor.dtype is not None:
            return tensor.dtype
        if not converts(tensor):
            return "f32"
        if self.own is not None and self.own.scheme_of(tensor, layer) == "mxfp4":
            return "ggml-MXFP4"
        return fitting(self._meant(tensor, layer), tensor.shape[1])

    def layer_signature(self, layer: int) -> tuple[str, ...]:
        """Return the types that depend on where the layer stands: alike, stored alike."""
        kind = self.architecture.order[layer]
        return tuple(self._chosen(role, t, layer) for role, t in self._by_place[kind])

    @cached_property
    def _keeps_draft(self) -> bool:
        return self.architecture.name in KEEP_DRAFT

    @cached_property
    def _recipe(self) -> Recipe:
        known = RECIPES.get(self.file_type, Recipe(default=self.file_type, head=self.file_type))
        if self.architecture.name in falcon.NAMES and self.file_type not in PLAIN:
            return falcon.recipe(self.file_type, known)
        return known

    @cached_property
    def _positions(self) -> Positions:
        return Positions(architecture=self.architecture, draft=self._keeps_draft)

    @cached_property
    def _by_place(self) -> tuple[tuple[tuple[Role, Tensor], ...], ...]:
        """For each kind one tensor of each role and component whose type depends on the layer."""
        return tuple(
            tuple(
                {
                    (role, t.component): (role, t)
                    for t in kind.tensors
                    if (role := role_of(t)) in BY_PLACE and role in self._recipe.choices
                }.values()
            )
            for kind in self.architecture.kinds
        )

    def _meant(self, tensor: Tensor, layer: int | None) -> str:
        role = role_of(tensor)
        if role == "head" or (role == "embedding" and self.architecture.tied_head):
            return self._head(tensor)
        if role == "embedding":
            return self._recipe.embedding or self._recipe.default
        stacked = role == "latent_up" or tensor.component == "routed_experts"
        if stacked and self._recipe.stacked is not None:
            return self._recipe.stacked
        number = ModuleName.of(tensor.name).layer if layer is None else layer
        return self._chosen(role, tensor, number or 0)

    def _chosen(self, role: Role, tensor: Tensor, layer: int) -> str:
        choice = self._recipe.choices.get(role)
        if choice is None:
            return self._recipe.default
        running = self.file_type in SMALLEST
        layer = min(layer, self._positions.layers - 1)
        place = self._positions.place(role, tensor, layer, running=running)
        return choice(place) or self._recipe.default

    def _head(self, tensor: Tensor) -> str:
        uneven = self._recipe.default in FALLBACKS and tensor.shape[1] % LARGE_BLOCK
        return "Q8_0" if uneven else self._recipe.head
