"""A model's memory by quantization and context, as public cards print it."""

from collections.abc import Sequence

from rackfit.catalog import Catalog
from rackfit.catalog.entries import ModelEntry
from rackfit.engines import engine_for
from rackfit.engines.split import Split
from rackfit.memory.answer import fits, unused_overhead
from rackfit.memory.question import Cell, MemoryTable, Method, ModelRef, Row
from rackfit.memory.ranks import RankSizes
from rackfit.memory.resolve import Resolved, resolve, rule_scheme
from rackfit.memory.rule_of_thumb import rule_of_thumb
from rackfit.memory.stages import stage_memories

CARD_QUANTIZATIONS = ("Q4_K_M", "Q8_0", "F16")
CARD_CONTEXTS = (1_024, 200_000, 1_000_000, 1_048_576)


def memory_table(
    entry: ModelEntry,
    catalog: Catalog,
    *,
    method: Method,
    overhead: float,
    quantizations: Sequence[str],
    contexts: Sequence[int],
    kv_cache_dtype: str | None,
) -> MemoryTable:
    """Fill the table of one model on one device of any size, one sequence at a time.

    Contexts beyond the model's are left out.

    Raises:
        InvalidInput: a quantization or KV cache type is unknown.
    """
    reference = ModelRef(id=entry.id)
    rows = []
    warnings = dict.fromkeys(unused_overhead(method, overhead))
    for name in quantizations:
        resolved = resolve(reference, catalog, quantization=name, kv_cache_dtype=kv_cache_dtype)
        longest = resolved.model.architecture.context_tokens
        reachable = [tokens for tokens in contexts if tokens <= longest]
        totals = [
            (tokens, _total(resolved, catalog, method, overhead, tokens)) for tokens in reachable
        ]
        cells = tuple(Cell(tokens, total, fits(total)) for tokens, total in totals)
        rows.append(Row(name, cells))
        warnings |= dict.fromkeys(resolved.warnings)
    return MemoryTable(entry.id, method, overhead, tuple(rows), tuple(warnings))


def _total(
    resolved: Resolved, catalog: Catalog, method: Method, overhead: float, tokens: int
) -> int:
    if method == "rule-of-thumb":
        scheme = rule_scheme(resolved, catalog)
        return rule_of_thumb(resolved.model, scheme, overhead=overhead, tokens=tokens).total_bytes
    engine = engine_for(None, 0)
    split = Split()
    sizes = RankSizes(resolved.model, engine, split, engine.limits(None, tokens))
    (stage,) = stage_memories(sizes, split, tokens, (len(sizes.model.order),))
    return stage.largest_fixed_bytes + stage.sequence_bytes
