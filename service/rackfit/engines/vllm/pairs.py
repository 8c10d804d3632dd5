"""Which sides vLLM's NixlConnector hands caches on between, by version.

Source: vllm/distributed/kv_transfer/kv_connector/utils.py (TpKVTopology, later TransferTopology)
and v1/nixl_connector.py of 0.19.1, v1/nixl of 0.20 to 0.33; platforms/cuda.py for the kernels.
"""

from rackfit.architecture.model import (
    CompressedAttention,
    GroupedAttention,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.catalog.entries import Accelerator
from rackfit.engines.hardware import BLACKWELL, NVIDIA
from rackfit.engines.pairs import Handover, PairRule, Side, tensor_ranks_divide, unequal
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.terms import kernels
from rackfit.engines.version import Version

NIXL_SOURCE = "vllm/distributed/kv_transfer/kv_connector/v1/nixl"
HANDSHAKE = f"{NIXL_SOURCE}: _validate_remote_agent_handshake"
RATIO = "vllm/distributed/kv_transfer/kv_connector/utils.py, tp_ratio"

SEVERAL_HELD: Version = (0, 20)
"""From here recurrent models may differ in tensor ranks, and others have one head on each."""

LATENT_READ: Version = (0, 21)
"""From here latent rows come from any of more ranks."""

ROWS_DIVIDED: Version = (0, 30)
"""From here rows that decode ranks divide are handed on (not in 0.28)."""


def one_stage(_version: Version, pair: Handover) -> Rejection | None:
    """The first stage's cache is pulled, and no decode stages are served."""
    reads, writes = pair.prefill.split.pipeline, pair.decode.split.pipeline
    if reads == writes == 1:
        return None
    side = pair.decode if reads == 1 else pair.prefill
    rule = "vLLM's NixlConnector hands caches on between replicas of one pipeline stage."
    numbers = {"prefill_pipeline": reads, "decode_pipeline": writes}
    source = f"{NIXL_SOURCE}: base_worker.py, pull_worker.py"
    return reject(side.split, "degree-unsupported", rule, source, **numbers)


def heads_gathered(version: Version, pair: Handover) -> Rejection | None:
    """A decode rank gathers the heads of several prefill ranks, of which none repeats one."""
    reads, writes = pair.prefill.split.tensor, pair.decode.split.tensor
    kinds = [kind.attention for kind in pair.model.kinds]
    if any(isinstance(kind, RecurrentAttention) for kind in kinds):
        if version >= SEVERAL_HELD or reads == writes:
            return None
        rule = "vLLM before 0.20 hands states on between equally many tensor ranks."
        return unequal(pair, rule, HANDSHAKE, prefill_tensor=reads, decode_tensor=writes)
    latent = any(isinstance(kind, LatentAttention | CompressedAttention) for kind in kinds)
    if reads <= writes or (latent and version >= LATENT_READ):
        return None
    heads = 1 if latent else _kv_heads(pair.model)
    if reads < heads or (reads == heads and version >= SEVERAL_HELD):
        return None
    rule = (
        f"TP{reads} to read prompts repeats {heads} KV heads; vLLM's NixlConnector does not hand "
        f"them on to fewer ranks (TP{writes})."
    )
    numbers = {"prefill_tensor": reads, "decode_tensor": writes, "kv_heads": heads}
    return unequal(pair, rule, HANDSHAKE, **numbers)


def _kv_heads(model: ServedModel) -> int:
    kinds = [kind.attention for kind in model.kinds]
    return max((k.kv_heads for k in kinds if isinstance(k, GroupedAttention)), default=1)


def rows_divided_alike(version: Version, pair: Handover) -> Rejection | None:
    """Rows that tensor ranks divide: by all of them or none, one side's ranks a multiple."""
    sides = (pair.prefill.split, pair.decode.split)
    reads, writes = (split.decode_context for split in sides)
    if reads == writes == 1:
        return None
    whole = all(split.decode_context in {1, split.tensor} for split in sides)
    if version >= ROWS_DIVIDED and whole and max(reads, writes) % min(reads, writes) == 0:
        return None
    rule = (
        "vLLM's NixlConnector hands on rows that ranks divide (decode_context) from 0.30 on, "
        "where all tensor ranks of a side do or none, and one side's are a multiple of the other's."
    )
    numbers = {"prefill_decode_context": reads, "decode_context": writes}
    return unequal(pair, rule, f"{RATIO.partition(',')[0]}, handshake_target_ranks", **numbers)


def kernels_alike(_version: Version, pair: Handover) -> Rejection | None:
    """Both sides' kernels of attention are the same: their name is part of what is compared."""
    reads, writes = (_chosen(pair.model, side) for side in (pair.prefill, pair.decode))
    if None in {reads, writes} or reads == writes:
        return None
    rule = (
        f"vLLM attends by {reads} on the devices that read prompts and by {writes} on those that "
        "write tokens; its NixlConnector refuses a cache of other kernels."
    )
    source = f"{NIXL_SOURCE}/metadata.py, compute_nixl_compatibility_hash; vllm/platforms/cuda.py"
    return reject(pair.decode.split, "hardware-unsupported", rule, source)


def _chosen(model: ServedModel, side: Side) -> str | None:
    """The family of kernels chosen by default; None where it is not known."""
    accelerator = side.accelerator
    if accelerator is None or accelerator.generation not in NVIDIA:
        return None
    kinds = [kind.attention for kind in model.kinds]
    if any(isinstance(kind, CompressedAttention) for kind in kinds):
        return None
    if any(isinstance(kind, LatentAttention) for kind in kinds):
        return _latent_kernels(accelerator)
    return "FlashInfer" if kernels(accelerator) in BLACKWELL else "FlashAttention"


def _latent_kernels(accelerator: Accelerator) -> str:
    if kernels(accelerator) in BLACKWELL:
        return "FlashInfer"
    return "FlashAttention" if accelerator.generation == "hopper" else "Triton"


PAIR_RULES: tuple[PairRule, ...] = (
    one_stage,
    tensor_ranks_divide(RATIO),
    heads_gathered,
    rows_divided_alike,
    kernels_alike,
)
"""All of them, in the order they are reported."""
