"""Hold every reader to the transformers library itself: `make truth`.

Compared are the total and each part of every published config (the catalog's and those under
tests/truth/data) and of generated variants of each family. Prints a line a family, and each
difference; ends with status 1 if there is one that DIFFERS does not explain.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import library
from variants import Variant, variants

from naming import expected_parts
from rackfit.architecture.huggingface import known_families, read_config
from rackfit.architecture.parameters import Parameters, count_parameters
from rackfit.errors import InvalidInput

Config = dict[str, Any]
ROOT = Path(__file__).parents[2]
PUBLISHED = (
    *(ROOT / "service/rackfit/catalog/data/models").glob("*.json"),
    *(ROOT / "tests/truth/data").glob("parameters*.json"),
)
APART = {"total", "active", "draft"}
# What a family's class cannot be made without.
NEEDED: dict[str, Config] = {
    "dbrx": {
        "attn_config": {"kv_n_heads": 8, "rope_theta": 500_000.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "glm4_moe": {"head_dim": 128},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 8, "moe_topk": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "glm4v_moe": {"text_config": {"head_dim": 128}},
    # The library allocates matrices for experts that do nothing; no checkpoint holds any.
    "longcat_flash": {"zero_expert_num": 0},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "qwen3_moe": {"head_dim": 128},
}
# Where a checkpoint tells otherwise than the library's default, the checkpoint is believed.
DIFFERS = {
    ("nemotron_h", "moe_shared_expert_intermediate_size"): "none is none, not the routed width",
    (
        "qwen3_vl_moe",
        "tie_word_embeddings",
    ): "where the wrapper is silent, its section's word holds",
    ("step3p7", "tie_word_embeddings"): "where the wrapper is silent, its section's word holds",
    ("hy_v3", "num_shared_experts"): "the library builds its default where there shall be none",
    ("granitemoehybrid", "num_local_experts"): "without experts `shared_mlp` is the feed-forward",
    (
        "kimi_k25",
        "tie_word_embeddings",
    ): "K2.5's section says untied, and its checkpoint has a head",
    ("kimi_linear", "tie_word_embeddings"): "the library cannot tie it",
    ("lfm2", "intermediate_size"): "a width of 1 is adjusted to none at all",
    ("longcat_flash", "zero_expert_num"): "the library allocates experts that do nothing",
    ("mpt", "expansion_ratio"): "the library multiplies by 4 whatever the ratio is",
    ("mistral3", "tie_word_embeddings"): "Mistral Small's checkpoints have a head",
}


class Outcome(NamedTuple):
    """How one config came out, and what to tell about it."""

    kind: str
    detail: str = ""


def compare(config: Config) -> Outcome:
    """Compare one config's parts."""
    try:
        measured = library.count(config)["by_tensor"]
    except Exception as error:  # noqa: BLE001 - whatever stops the library, there is no measure then
        return Outcome("without measure", f"{error!r:.90}")
    expected = expected_parts(measured)
    try:
        counted = count_parameters(read_config(config))
    except InvalidInput as error:
        return Outcome("refused", f"{error!s:.90}")
    parts = {part: count for part in Parameters.__struct_fields__ if part not in APART
             and (count := getattr(counted, part))}  # fmt: skip
    if parts == expected:
        return Outcome("exact")
    names = sorted(n for n in expected | parts if expected.get(n) != parts.get(n))
    return Outcome(
        "different",
        ", ".join(f"{n}: library {expected.get(n, 0):,}, here {parts.get(n, 0):,}" for n in names),
    )


def explained(family: str, variant: Variant) -> bool:
    """Say whether a difference is one of those that are meant: of a field changed or left out."""
    fields = {change.split()[0].rpartition(".")[2] for change in variant.changes}
    meant = {field for of, field in DIFFERS if of == family}
    return any(field in fields or field not in variant.config for field in meant)


def published() -> Iterator[tuple[str, Variant]]:
    """Yield every published config of a family the library has."""
    for path in sorted(PUBLISHED):
        entry = json.loads(path.read_text())
        entries = entry if path.name.startswith("parameters") else {path.stem: entry}
        for name, model in entries.items():
            if config := model.get("config"):
                yield config["model_type"], Variant(config, (name,))


def generated(names: Iterable[str], together: int) -> Iterator[tuple[str, Variant]]:
    """Yield the variants of each family that both sides know."""
    for family in names:
        if family in library.families():
            config = library.default_config(family, **NEEDED.get(family, {}))
            for variant in variants(config, family, together):
                yield family, variant


def main() -> int:
    """Compare what the arguments ask for; returns the exit status."""
    arguments = _arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a TextIOWrapper
    chosen = set(arguments.families or known_families())
    tables: dict[str, Counter[str]] = {}
    unexplained = 0
    for family, variant in (*published(), *generated(sorted(chosen), arguments.together)):
        if family not in chosen:
            continue
        outcome = compare(variant.config)
        meant = outcome.kind == "different" and explained(family, variant)
        kind = "different on purpose" if meant else outcome.kind
        tables.setdefault(family, Counter())[kind] += 1
        if outcome.kind == "different" and not meant:
            unexplained += 1
            sys.stdout.write(f"{family}: {', '.join(variant.changes)}: {outcome.detail}\n")
    for family, table in sorted(tables.items()):
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(table.items()))
        sys.stdout.write(f"{family:24}{told}\n")
    total = sum(tables.values(), Counter())
    sys.stdout.write(f"transformers {library.version()}: {dict(sorted(total.items()))}\n")
    return 1 if unexplained else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="only these (default: all)")
    parser.add_argument("--together", type=int, default=40, help="variants of several changes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
