"""Serving runs that the package tells of (silicon_sample.csv), beside both kinds of estimate.

Each is a server under a fixed number of concurrent requests, as benchmarks log it: nothing here
is fitted on them. `make silicon` prints the table of docs/performance.md.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import aiconfigurator_core

from rackfit.catalog import load_catalog
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.errors import NotCovered
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.performance.estimate import Speeds
from rackfit.performance.serving import Serving
from rackfit.performance.tabled import TabledSpeeds
from rackfit.silicon import package, tables_for
from rackfit.silicon.tables import SYSTEMS

SAMPLE = Path(aiconfigurator_core.__file__).parent / "systems" / "silicon_sample.csv"
ENGINES = {"vllm": "vllm", "sglang": "sglang", "trtllm": "tensorrt-llm"}
ACCELERATORS = {system: accelerator for accelerator, system in SYSTEMS.items()}
CATALOG = load_catalog()
TABLES = tables_for(CATALOG)
FOUR_BITS = ("gpt-oss", "FP4")
"""Whose models are stored in 4 bits; other rows of "fp4" are of other checkpoints."""

Row = dict[str, str]


class Run(NamedTuple):
    """A measured time a token, and both estimates as multiples of it."""

    model: str
    engine: str
    tables: float
    roofline: float


def runs() -> Iterator[Run]:
    """Yield every run of a whole deployment whose split is told and that both can estimate."""
    with SAMPLE.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if _is_told(row):
                found = _estimated(row)
                if found is not None:
                    yield found


def _is_told(row: Row) -> bool:
    stored = row["precision"] != "fp4" or any(name in row["model_path"] for name in FOUR_BITS)
    known = row["system"] in ACCELERATORS and row["model_path"] in package.carried()
    degrees = {row[name] for name in ("tp_size", "moe_ep_size")}
    return row["mode"] == "agg" and stored and known and not degrees & {"", "0"}


@cache
def _speeds(model: str, engine: str) -> tuple[TabledSpeeds, Speeds]:
    files = package.carried()[model]
    reference = ModelRef(config=files["config"], hf_quant_config=files.get("hf_quant_config"))
    served = resolve(reference, CATALOG, quantization=None, kv_cache_dtype=None).model
    started = engine_for(EngineChoice(name=ENGINES[engine]), 0.1)
    assert TABLES is not None
    return (
        TabledSpeeds(served, started, TABLES, 16_384),
        Speeds(served, started, CATALOG.efficiencies, 16_384),
    )


def _estimated(row: Row) -> Run | None:
    degrees = ("tp_size", "pp_size", "attention_dp_size", "moe_ep_size")
    tensor, pipeline, data, expert = (int(row[name] or 1) for name in degrees)
    read, written = int(row["isl"]), int(row["osl"])
    serving = Serving(
        sequences=int(row["batch_size"]),
        context_tokens=read + written,
        input_tokens=read,
        output_tokens=written,
    )
    split = Split(tensor=tensor, pipeline=pipeline, data=data, expert=expert)
    accelerator = CATALOG.accelerators[ACCELERATORS[row["system"]]]
    tables, roofline = _speeds(row["model_path"], row["backend"])
    measured = float(row["silicon_tpot_ms"]) / 1000
    try:
        tabled = tables.run(split, accelerator, serving).seconds_per_output_token
    except NotCovered:
        return None
    other = roofline.run(split, accelerator, serving)
    assert other is not None
    return Run(
        row["model_path"],
        row["backend"],
        tabled / measured,
        other.seconds_per_output_token / measured,
    )


def told(found: list[float]) -> str:
    """Say how multiples are spread, and how far the median one is off."""
    tenths = quantiles(found, n=10)
    off = median(abs(each - 1) for each in found)
    return f"{tenths[0]:.2f} {tenths[4]:.2f} {tenths[8]:.2f} | {100 * off:.0f} %"


def main() -> None:
    """Print a line a model and engine."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs():
        groups["all"].append(run)
        groups[f"{run.model}, {run.engine}"].append(run)
    for name, found in sorted(groups.items(), key=lambda group: -len(group[1])):
        if len(found) > 10:
            by_tables, by_roofline = [r.tables for r in found], [r.roofline for r in found]
            line = f"| {name} | {len(found)} | {told(by_tables)} | {told(by_roofline)} |"
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
