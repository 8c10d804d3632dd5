"""`make fit`: fit engines' efficiencies on measured kernels and write them into the catalog.

One a phase, engine and generation of accelerators, on tests/truth/data/kernel_step_times.json
and nothing else.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import step_times
from rackfit.catalog.entries import Efficiency

HEADER = """\
# What engines reach of the modelled speed; fields: catalog.entries.Efficiency. Written by
# `make fit` from tests/truth/data/kernel_step_times.json: change nothing by hand.

sources = [
  "426 step times of seven models under vLLM 0.24.0, SGLang 0.5.14 and TensorRT-LLM 1.3.0rc20",
  "composed by NVIDIA aiconfigurator 0.12 (Apache-2.0) from kernels measured on the silicon",
]
"""


def main() -> int:
    """Write the table to the path the command line names."""
    Path(sys.argv[1]).write_text(table(step_times.fitted(step_times.measured())))
    return 0


def table(efficiencies: Iterable[Efficiency]) -> str:
    """The catalog's efficiencies.toml."""
    return HEADER + "".join(map(_entry, efficiencies))


def _entry(found: Efficiency) -> str:
    return f"""
[[efficiency]]
engine = "{found.engine}"
generation = "{found.generation}"
phase = "{found.phase}"
factor = {found.factor}
low = {found.low}
high = {found.high}
points = {found.points}
"""


if __name__ == "__main__":
    sys.exit(main())
