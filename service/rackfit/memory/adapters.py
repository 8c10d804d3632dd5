"""Low-rank adapters kept loaded: both matrices of every slot, in 16 bits."""

from rackfit.architecture.model import ExpertFeedForward, Shard, Tensor
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split

UNADAPTED: tuple[Shard, ...] = ("experts", "vision", "vocabulary")
"""What adapters leave alone: the vision tower, embedding and head; experts are counted apart."""


def adapter_bytes(tensor: Tensor, choice: EngineChoice, split: Split) -> int:
    """Bytes of a matrix' adapters on one rank.

    The side that the tensor ranks divide is divided, the other whole (vLLM lora/layers).
    """
    if not tensor.linear or tensor.shard in UNADAPTED:
        return 0
    rows, columns = tensor.shape[-2:]
    parts = 1 if tensor.shard == "replicated" else split.tensor
    rows, columns = (rows // parts, columns) if tensor.fused else (rows, columns // parts)
    return choice.lora_slots * choice.lora_rank * (rows + columns) * 2


def expert_adapter_bytes(
    mixture: ExpertFeedForward, choice: EngineChoice, split: Split, hidden: int
) -> int:
    """The same for one expert: of a divided width a part, of the model's all of it."""
    part = -(-mixture.width // (split.expert_tensor or 1))
    matrices = 3 if mixture.gated else 2
    return choice.lora_slots * choice.lora_rank * matrices * (hidden + part) * 2
