"""What an engine holds of weights once they are loaded, with what a checkpoint stores of them."""

from fractions import Fraction

from rackfit.architecture.model import Attention
from rackfit.catalog.entries import Scheme
from rackfit.engines.padding import AS_STORED, padded_slices, rounds_blocks, scheme_block
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits


class Holding:
    """The part of an engine that says how weights in memory differ from those on disk."""

    def expert_padding(
        self, model: ServedModel, scheme: Scheme, split: Split, limits: Limits
    ) -> Fraction:
        """How much larger routed experts are as loaded than as stored: by whole blocks, if any."""
        del limits
        rounded = rounds_blocks(model, scheme)
        return padded_slices(model, split, scheme_block(scheme)) if rounded else AS_STORED

    def group_halvings(self, model: ServedModel, split: Split) -> int:
        """How many times each scale of experts is kept, groups being made smaller for it.

        So that slices are whole groups; 1 where they are as stored, 0 where nothing makes them so.
        """
        del model, split
        return 0

    def column_bytes(self, scheme: Scheme, generation: str) -> int:
        """Bytes kept of the group of each column of a matrix, on devices of a generation."""
        del generation
        return scheme.column_bytes

    def keeps_zeros(self, scheme: Scheme, generation: str) -> bool:
        """Tell whether zero points of symmetric weights stay with plain matrices, once loaded.

        With those of experts they do in every engine.
        """
        del scheme, generation
        return True

    def allocated_bytes(self, size: int) -> int:
        """What is taken of a device for a tensor of `size` bytes."""
        return size

    def computed_bytes(self, model: ServedModel) -> int:
        """What is computed at loading and kept beside the checkpoint's weights on each rank."""
        del model
        return 0

    def layer_computed_bytes(
        self, model: ServedModel, attention: Attention | None, split: Split
    ) -> int:
        """The same of one layer."""
        del model, attention, split
        return 0
