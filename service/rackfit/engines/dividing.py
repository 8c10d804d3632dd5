"""How an engine divides a model, with what plain arithmetic gives: into how many parts is what."""

from collections.abc import Sequence
from typing import ClassVar

from rackfit.engines.launch import Phase
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split


class Dividing:
    """The part of an engine that says how splits divide what; an engine overrides where it differs.

    Context ranks of one that `divides_prompts` share the reading of prompts, each with all rows of
    the cache; those of others share the rows. `context_note` says what else there is to them, and
    `context_phases` which replicas have any, by `context_source`.
    """

    divides_prompts: ClassVar[bool] = False
    context_note: ClassVar[str] = ""
    context_phases: ClassVar[tuple[Phase, ...]] = ()
    context_source: ClassVar[str] = ""

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """Layers on each pipeline stage; the remainder goes to the first stages."""
        each, more = divmod(layers, stages)
        return tuple(each + (stage < more) for stage in range(stages))

    def contexts(
        self, model: ServedModel, tensor: int, phase: Phase, generation: str
    ) -> Sequence[int]:
        """Degrees above 1 in which tensor ranks may be context ranks instead, by devices' kernels.

        For replicas of one `phase`; `broken_rules` has the last word on each.
        """
        del model, tensor, phase, generation
        return ()

    def decode_contexts(self, model: ServedModel, tensor: int) -> Sequence[int]:
        """Degrees above 1 in which tensor ranks that keep the same rows may divide them."""
        del model, tensor
        return ()

    def cache_parts(self, split: Split) -> int:
        """Into how many parts a sequence's rows are divided, tokens by turns."""
        return split.decode_context * (1 if self.divides_prompts else split.context)

    def attention_output_parts(self, split: Split) -> int:
        """Into how many parts the matrix that leads out of attention is divided."""
        return split.tensor

    def feed_forward_parts(self, split: Split) -> int:
        """Into how many parts a dense feed-forward is divided."""
        return split.tensor

    def shared_expert_parts(self, split: Split) -> int:
        """Into how many parts shared experts are divided."""
        return self.feed_forward_parts(split)

    def embedding_parts(self, split: Split) -> int:
        """Into how many parts the embedding is divided."""
        return split.tensor

    def head_parts(self, split: Split) -> int:
        """Into how many parts the head is divided."""
        return split.tensor

    def vision_parts(self, split: Split) -> int:
        """Into how many parts the matrices of a vision tower are divided."""
        del split
        return 1
