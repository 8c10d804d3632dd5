"""Prompts longer than a step: read in chunks, but for latent rows on devices before Hopper.

Source: TensorRT-LLM, tensorrt_llm/_torch/pyexecutor/py_executor_creator.py: of latent attention
chunks are turned off but on SM90, SM100, SM103 and SM120; llmapi/llm.py, _check_arguments, then
refuses prompts of more than `max_num_tokens`.
"""

import msgspec

from rackfit.architecture.model import LatentAttention
from rackfit.engines.hardware import FROM_HOPPER
from rackfit.engines.launch import Launched
from rackfit.engines.served import ServedModel
from rackfit.engines.terms import RTX_BLACKWELL, Limits

CHUNKED = frozenset({"", RTX_BLACKWELL, *FROM_HOPPER})
"""Devices, by whose kernels they run, that read any prompt in chunks; unknown ones are taken so."""


def reads_at_once(launched: Launched) -> bool:
    """Tell whether a plan's devices read each prompt in one step."""
    return launched.generation not in CHUNKED and _latent(launched.model)


def at_once(model: ServedModel, limits: Limits) -> Limits:
    """The batch prepared for, of a whole prompt where it is read at once."""
    if limits.prompt_tokens <= limits.batched_tokens or not _latent(model):
        return limits
    return msgspec.structs.replace(limits, batched_tokens=limits.prompt_tokens)


def _latent(model: ServedModel) -> bool:
    return any(isinstance(kind.attention, LatentAttention) for kind in model.kinds)
