"""Why a split does not work, as a value a caller can read and act on."""

from typing import Any, Literal

import msgspec

from rackfit.engines.split import Split

RejectionCode = Literal[
    "heads-not-divisible",  # attention heads % tensor, or the groups of what leads out of them
    "kv-heads-not-divisible",  # neither divides the other
    "experts-not-divisible",  # experts cannot be spread evenly and the engine wants that
    "expert-degree-without-experts",  # expert parallelism of a dense model
    "expert-block-misaligned",  # an expert's slice is no multiple of its scheme's block
    "feed-forward-not-divisible",  # dense width % tensor, or its tiles or groups
    "more-stages-than-layers",  # pipeline > layers
    "mixed-expert-parallelism",  # the engine takes expert or expert-tensor, not both
    "degree-unsupported",  # the engine lacks this kind of parallelism
    "scheme-unsupported",  # the engine cannot load this quantization scheme
    "model-unsupported",  # this version of the engine does not know the model's attention
    "kv-dtype-unsupported",  # the engine cannot store this KV cache type
    "hardware-unsupported",  # the engine does not run, or not in this format, on such devices
    "sequence-limit",  # more sequences at once than the engine is started for
    "weights-exceed-memory",  # the largest rank's weights alone do not fit
    "memory-exceeded",  # weights, KV cache and overhead together do not fit
    "not-enough-accelerators",  # the inventory has fewer than the split needs
    "domain-too-small",  # a tensor group would leave its scale-up domain
    "too-slow",  # not in the times the caller allows, by estimate
    "constraint",  # the caller's own constraints exclude it
]
"""The closed list of codes; within v1 codes are only added."""


class MoreNodes(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes to add to an inventory: `number` of them, with `count` free accelerators each."""

    number: int
    accelerator: str
    count: int


class Fix(msgspec.Struct, frozen=True):
    """The nearest change that makes a rejected split work.

    `change` is the change in short (`kv_cache_dtype=fp8`), `detail` a sentence, `verified`
    tells whether the changed request was planned and worked, under all constraints it leaves.
    `patch` is a JSON Merge Patch (RFC 7396) of the request that makes the change, None where no
    patch of it would do; `nodes` are then to be added to the inventory.
    """

    change: str
    detail: str
    verified: bool
    patch: dict[str, Any] | None = None
    nodes: MoreNodes | None = None


class Rejection(msgspec.Struct, frozen=True):
    """A split that does not work: the rule in words, its numbers and the nearest fix.

    `numbers` holds what the rule compared, each name saying its unit. `source` says where
    the rule comes from. A plan's splits that break a rule alike are told once: `split` is the
    smallest and `alike` counts them, itself included.
    """

    split: Split
    code: RejectionCode
    detail: str
    numbers: dict[str, int | float] = {}
    source: str | None = None
    accelerator: str | None = None
    alike: int = 1
    nearest_fix: Fix | None = None
