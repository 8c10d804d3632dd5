"""A split: how one model is divided over accelerators."""

from typing import Annotated

import msgspec

Degree = Annotated[int, msgspec.Meta(ge=1, le=65536)]


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Degrees of parallelism; devices a replica = tensor x pipeline x data x context.

    `tensor` divides attention, `data` is attention data parallelism, `expert` divides the
    tensor x data ranks of a stage into expert groups: 1, or a divisor of tensor x data.
    `expert_tensor` = tensor x data / expert may be left out. `replicas` multiplies outside.
    `decode_context` takes no devices: so many of the tensor ranks, which would all keep the same
    rows of the cache, divide them by tokens.
    """

    tensor: Degree = 1
    pipeline: Degree = 1
    data: Degree = 1
    context: Degree = 1
    expert: Degree = 1
    expert_tensor: Degree | None = None
    decode_context: Degree = 1
    replicas: Degree = 1

    def __post_init__(self) -> None:
        derived, remainder = divmod(self.tensor * self.data, self.expert)
        if remainder:
            msg = (
                f"expert must be 1 or a divisor of tensor x data = {self.tensor * self.data}, "
                f"got {self.expert}"
            )
            raise ValueError(msg)
        if self.expert_tensor is None:
            msgspec.structs.force_setattr(self, "expert_tensor", derived)
        elif self.expert_tensor != derived:
            msg = f"expert_tensor must be tensor x data / expert = {derived}, or be left out"
            raise ValueError(msg)

    @property
    def devices_per_replica(self) -> int:
        """Accelerators one replica takes."""
        return self.tensor * self.pipeline * self.data * self.context

    @property
    def cache_parts(self) -> int:
        """Into how many parts a sequence's rows are divided, tokens by turns."""
        return self.context * self.decode_context

    @property
    def devices(self) -> int:
        """Accelerators the whole deployment takes."""
        return self.devices_per_replica * self.replicas
