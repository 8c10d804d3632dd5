"""SGLang's cache of a stage, in the pools that it has for a model."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.engines.cache_layout import CacheTerm, indexer_row_bytes, merged, sparse_row_bytes
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.choice import EngineChoice
from rackfit.engines.served import ServedModel
from rackfit.engines.sglang.compressed import compressed_cache
from rackfit.engines.sglang.paging import page_tokens
from rackfit.engines.sglang.sparse import chosen_on_rtx
from rackfit.engines.sglang.states import pooled
from rackfit.engines.terms import RTX_BLACKWELL, Limits
from rackfit.engines.version import Version

PLAIN_SPARSE_ROWS = frozenset({"blackwell", RTX_BLACKWELL, "cdna2", "cdna3", "cdna4"})
"""Generations whose sparse latent rows in fp8 are fp8 throughout.

Source: sglang, model_runner.py, calculate_mla_kv_cache_dim, and the default of each generation's
attention backend.
"""

OWN_KEYS: Version = (0, 5, 18)
"""From here layers keep no keys where another's indexer chooses for them; before, all had room.

Source: sglang/srt/model_executor/pool_configurator.py of 0.5.14 to 0.5.18.
"""

SLIDING_SHARE = Fraction(4, 5)
"""Tokens the pool of sliding layers holds for each token of the full ones (0.8 by default).

Source: sglang/srt/server_args.py, swa_full_tokens_ratio.
"""

SLIDING_POOL: Mapping[str, Version] = {
    "Llama4ForConditionalGeneration": (0, 5, 9),
    "GptOssForCausalLM": (0, 5, 9),
    "MiMoV2FlashForCausalLM": (0, 5, 9),
    "Step3p5ForCausalLM": (0, 5, 9),
    "Step3p7ForConditionalGeneration": (0, 5, 14),
    "Gemma4ForCausalLM": (0, 5, 14),
    "Gemma4ForConditionalGeneration": (0, 5, 14),
}
"""Models whose sliding layers have that pool, and from when; those of others keep every token.

Source: sglang/srt/configs/model_config.py, is_hybrid_swa_model, of 0.5.9, 0.5.14 and 0.5.23 (0.5.6
has the pool on request alone).
"""


def stage_cache(
    version: Version,
    choice: EngineChoice,
    model: ServedModel,
    kept: Sequence[tuple[CacheTerm, ...]],
    counts: Sequence[int],
    *,
    limits: Limits,
) -> StageCache:
    """The cache of a stage of `counts` layers of each kind, of each of which `kept` is kept.

    Sliding layers keep every token, or some models' in a pool of their own: a fixed share.
    """
    attentions = [kind.attention for kind in model.kinds]
    if any(isinstance(one, CompressedAttention) for one in attentions):
        return compressed_cache(version, choice, model, counts)
    block = page_tokens(model, limits.generation)
    cache = StageCache(terms=merged(zip(counts, kept, strict=True), block), block_tokens=block)
    if any(isinstance(one, RecurrentAttention) for one in attentions):
        return pooled(version, choice, model, cache)
    known = SLIDING_POOL.get(model.architecture.name)
    share = SLIDING_SHARE if known is not None and version >= known else Fraction(1)
    if share < 1 and not any(term.window is None and term.row_bytes for term in cache.terms):
        return cache
    terms = tuple(t if t.window is None else _in_pool(t, share) for t in cache.terms)
    return msgspec.structs.replace(cache, terms=terms)


def kept_rows(
    version: Version, model: ServedModel, tensor: int, generation: str
) -> list[tuple[CacheTerm, ...]]:
    """What each kind of layer keeps on one of `tensor` ranks.

    Sparse latent rows in fp8 keep scales and a rotary part in 16 bits for the kernels of
    Hopper (FlashMLA), but not for Blackwell's (TensorRT-LLM) nor AMD's (TileLang).
    """
    kept = list(zip(model.kinds, model.cache_terms(tensor), strict=True))
    scaled, key = _keeps_scales(version, model, generation), 0
    if version < OWN_KEYS:
        key = max(_key_bytes(kind.attention) for kind in model.kinds)
    return [
        _with_key(kind.attention, _with_scales(kind.attention, terms) if scaled else terms, key)
        for kind, terms in kept
    ]


def _keeps_scales(version: Version, model: ServedModel, generation: str) -> bool:
    on_rtx = generation == RTX_BLACKWELL and chosen_on_rtx(version, model)
    return model.kv_cache_dtype == "fp8" and (on_rtx or generation not in PLAIN_SPARSE_ROWS)


def _key_bytes(attention: Attention | None) -> int:
    own = attention.indexer if isinstance(attention, LatentAttention) else None
    return indexer_row_bytes(own) if own else 0


def _with_key(
    attention: Attention | None, terms: tuple[CacheTerm, ...], key: int
) -> tuple[CacheTerm, ...]:
    """The terms of a layer with room for a key, if it reads what another layer's indexer chose."""
    if not isinstance(attention, LatentAttention) or attention.indexer or not attention.top_k:
        return terms
    return tuple(msgspec.structs.replace(t, row_bytes=t.row_bytes + key) for t in terms)


def _in_pool(term: CacheTerm, share: Fraction) -> CacheTerm:
    return msgspec.structs.replace(
        term,
        row_bytes=-(-term.row_bytes * share.numerator // share.denominator),
        window=None,
    )


def _with_scales(
    attention: Attention | None, terms: tuple[CacheTerm, ...]
) -> tuple[CacheTerm, ...]:
    """The terms of a layer whose sparse rows keep their scales."""
    if isinstance(attention, LatentAttention) and attention.top_k:
        return (CacheTerm(row_bytes=sparse_row_bytes(attention)),)
    return terms
