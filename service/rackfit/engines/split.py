"""A split: how one model is divided over accelerators."""

from typing import Annotated

import msgspec

Degree = Annotated[int, msgspec.Meta(ge=1, le=65536)]


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Degrees of parallelism; devices a replica = tensor x pipeline x data x context.

    `tensor` divides attention, `data` is attention data parallelism, `context` ranks divide the
    tokens of a sequence. `expert` divides the tensor x data x context ranks of a stage into
    expert groups: 1, or a divisor of their number. `expert_tensor` = tensor x data x context /
    expert may be left out. `replicas` multiplies outside. `decode_context` takes no devices: so
    many of the tensor ranks, which would all keep the same rows of the cache, divide them by
    tokens.
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
        stage_ranks = self.tensor * self.data * self.context
        derived, remainder = divmod(stage_ranks, self.expert)
        if remainder:
            msg = (
                "expert must be 1 or a divisor of tensor x data x context = "
                f"{stage_ranks}, got {self.expert}"
            )
            raise ValueError(msg)
        if self.expert_tensor is None:
            msgspec.structs.force_setattr(self, "expert_tensor", derived)
        elif self.expert * self.expert_tensor not in {stage_ranks, self.tensor * self.data}:
            msg = (
                f"expert_tensor must be tensor x data x context / expert = {derived}, "
                "or be left out"
            )
            raise ValueError(msg)

    @property
    def cell(self) -> int:
        """Ranks that work on the same sequences in one stage, inside a scale-up domain."""
        return self.tensor * self.context

    @property
    def stage_ranks(self) -> int:
        """Ranks of one stage of a replica."""
        return self.tensor * self.data * self.context

    @property
    def repeats_experts(self) -> bool:
        """Whether context ranks are to hold the same experts, which no engine has."""
        return self.expert * (self.expert_tensor or 1) != self.stage_ranks

    @property
    def devices_per_replica(self) -> int:
        """Accelerators one replica takes."""
        return self.tensor * self.pipeline * self.data * self.context

    @property
    def devices(self) -> int:
        """Accelerators the whole deployment takes."""
        return self.devices_per_replica * self.replicas
