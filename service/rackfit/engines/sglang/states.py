"""SGLang's pool of recurrent states: a share of the room of its own, several slots a request.

Source: sglang/srt/model_executor/model_runner_kv_cache_mixin.py (handle_max_mamba_cache,
init_memory_pool) of 0.5.9 and 0.5.14, mem_cache/kv_cache_configurator.py of 0.5.23
(_handle_max_mamba_cache, _calculate_mamba_ratio), with the radix cache that is on by default.
"""

from fractions import Fraction

import msgspec

from rackfit.engines.cache_layout import CacheTerm
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.choice import EngineChoice
from rackfit.engines.served import ServedModel
from rackfit.engines.version import Version

POOLED: Version = (0, 5, 6)
"""From here states have a pool (0.5.3 has none)."""

STATE_SHARE = Fraction(9, 19)
"""0.9 bytes of states for each byte of rows (`--mamba-full-memory-ratio`)."""

SLOTS = 3
"""A request's own state, and those that its prefix keeps in the radix cache."""

BUFFERED: Version = (0, 5, 14)
BUFFER_SLOTS = 2
"""From here states are tracked in two more, so that batches overlap (`extra_buffer`)."""

UNBUFFERED = frozenset({"Lfm2ForCausalLM", "Lfm2MoeForCausalLM"})
"""Models whose states are not (arg_groups/overrides.py, _MAMBA_EXTRA_BUFFER_ARCHS)."""


def pooled(
    version: Version, choice: EngineChoice, model: ServedModel, cache: StageCache
) -> StageCache:
    """The cache of a stage as two pools, of rows and of states."""
    state = sum(term.constant_bytes for term in cache.terms)
    if version < POOLED or not state:
        return cache
    slots = SLOTS
    if version >= BUFFERED and model.architecture.name not in UNBUFFERED:
        slots += BUFFER_SLOTS
    if choice.speculative_tokens:
        slots += choice.speculative_tokens + 1  # a state after each drafted token
    return msgspec.structs.replace(
        cache,
        terms=tuple(_rows(term) for term in cache.terms if term.row_bytes),
        states=slots * state,
        state_share=STATE_SHARE,
    )


def _rows(term: CacheTerm) -> CacheTerm:
    return msgspec.structs.replace(term, constant_bytes=0)
