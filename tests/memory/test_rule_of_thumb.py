"""The public card's table, to its printed decimal."""

import pytest

from rackfit.catalog import Catalog
from rackfit.memory.table import CARD_CONTEXTS, CARD_QUANTIZATIONS, memory_table

CARD = "deepseek-v4-pro"
PRINTED = {
    "Q4_K_M": (827.3, 888.0, 1132.2, 1147.0),
    "Q8_0": (1654.3, 1715.1, 1959.2, 1974.0),
    "F16": (3308.4, 3369.1, 3613.2, 3628.1),
}


def totals(
    catalog: Catalog,
    *,
    overhead: float = 0.10,
    quantizations: tuple[str, ...] = CARD_QUANTIZATIONS,
    contexts: tuple[int, ...] = CARD_CONTEXTS,
    model: str = CARD,
) -> dict[str, list[int]]:
    """Total bytes by quantization."""
    table = memory_table(
        catalog.models[model],
        catalog,
        method="rule-of-thumb",
        overhead=overhead,
        quantizations=quantizations,
        contexts=contexts,
        kv_cache_dtype=None,
    )
    return {row.quantization: [cell.total_bytes for cell in row.cells] for row in table.rows}


@pytest.mark.parametrize("quantization", PRINTED)
def test_card_figures_to_the_decimal(catalog: Catalog, quantization: str) -> None:
    """All twelve of the card's figures, in GiB as it prints them."""
    shown = tuple(round(total / 2**30, 1) for total in totals(catalog)[quantization])
    assert shown == PRINTED[quantization]


def test_overhead_is_the_callers(catalog: Catalog) -> None:
    """Another overhead changes the weights' share alone, exactly."""
    (ten,) = totals(catalog, quantizations=("Q8_0",), contexts=(1024,))["Q8_0"]
    (none,) = totals(catalog, overhead=0, quantizations=("Q8_0",), contexts=(1024,))["Q8_0"]
    assert ten - none == 1_600_000_000_000 // 10


def test_context_costs_the_cards_bytes_a_token(catalog: Catalog) -> None:
    """2 x 80 layers x 8 KV heads x 128 x 2 bytes a token, without overhead."""
    (short, long) = totals(catalog, quantizations=("Q8_0",), contexts=(1024, 2048))["Q8_0"]
    assert long - short == 1024 * 327_680


def test_scheme_without_nominal_figure_uses_its_published_bits(catalog: Catalog) -> None:
    """Q6_K is no row of the card: its published 6.5633 bits a weight count."""
    bits = catalog.schemes["Q6_K"].bits_per_weight
    (total,) = totals(catalog, overhead=0, quantizations=("Q6_K",), contexts=(1,))["Q6_K"]
    assert total == pytest.approx(1.6e12 * bits / 8 * 1.01 + 327_680, abs=1)


def test_contexts_beyond_the_models_are_left_out(catalog: Catalog) -> None:
    """A model of 32,768 tokens has no column for 200,000."""
    table = totals(catalog, model="Qwen/Qwen2.5-7B-Instruct", quantizations=("F16",))
    assert len(table["F16"]) == 1


def test_a_table_by_architecture_warns_of_an_overhead(catalog: Catalog) -> None:
    """The overhead is the rule's alone."""
    table = memory_table(
        catalog.models[CARD],
        catalog,
        method="architecture",
        overhead=0.25,
        quantizations=("Q8_0",),
        contexts=(1024,),
        kv_cache_dtype=None,
    )
    assert any("`overhead` is the rule of thumb's" in warning for warning in table.warnings)
