"""What serving engines allow and take: one file per engine, one interface."""

from rackfit.engines.choice import EngineChoice
from rackfit.engines.generic import Generic
from rackfit.engines.interface import Engine
from rackfit.engines.llama_cpp import LlamaCpp
from rackfit.engines.sglang import Sglang
from rackfit.engines.tensorrt_llm import TensorRtLlm
from rackfit.engines.vllm import Vllm
from rackfit.errors import InvalidInput, unknown_name

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Generic, Vllm, Sglang, TensorRtLlm, LlamaCpp)
}
ALIASES = {"trtllm": "tensorrt-llm", "tensorrt_llm": "tensorrt-llm", "llamacpp": "llama.cpp"}


def engine_for(choice: EngineChoice | None, device_reserve: float) -> Engine:
    """Return the engine a request names, the generic one where it names none.

    Raises:
        InvalidInput: no engine has that name.
    """
    if choice is None:
        return Generic(None, device_reserve)
    folded = choice.name.casefold()
    found = ENGINES.get(ALIASES.get(folded, folded))
    if found is None:
        known = list(ENGINES)
        raise InvalidInput(unknown_name("/engine/name", "engine", choice.name, known, few=True))
    return found(choice, device_reserve)


def placement_writer(name: str) -> type[Engine] | None:
    """Return the engine of a name, in any case, if it takes an expert placement."""
    folded = name.casefold()
    found = ENGINES.get(ALIASES.get(folded, folded))
    return found if found and found.expert_placement([[0]], 1, 0) else None


PLACED = tuple(name for name in ENGINES if placement_writer(name))
"""Engines that take an expert placement."""
