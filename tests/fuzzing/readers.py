"""A coverage-guided fuzzer for each reader of a foreign format: `make fuzz-readers`.

    python tests/fuzzing/readers.py gguf [seconds]

Atheris steers what it changes in sound inputs by the lines of the reader that they reach. Whatever
comes, a reader reads it or refuses it (`InvalidInput`) within seconds; anything else ends with the
traceback and the input, in a file `crash-...` of the folder it runs in.
"""

import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import atheris

with atheris.instrument_imports(include=["rackfit"]):
    from rackfit.architecture.gguf.reader import read_gguf
    from rackfit.architecture.safetensors import read_safetensors
    from rackfit.catalog import load_catalog
    from rackfit.errors import InvalidInput
    from rackfit.inventory.normalize import normalize
    from rackfit.memory.question import ModelRef
    from rackfit.memory.resolve import resolve

HERE = Path(__file__).parent
PRINTED = HERE.parent / "inventory" / "data"
EXAMPLES = HERE.parents[1] / "openapi" / "examples"
CATALOG = load_catalog()
SECONDS = 60
SLOWEST = 10
"""Seconds after which an input is taken for a hang."""

LARGEST = 1 << 16

Read = Callable[[bytes], object]


class Target(NamedTuple):
    """A reader, and sound inputs to start from."""

    read: Read
    seeds: Callable[[], list[bytes]]


def _inventory(name: str, node: str | None = None) -> Read:
    return lambda data: normalize(name, data, CATALOG.accelerator, node=node)


def _printed(pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in sorted(PRINTED.glob(pattern))]


def _config(data: bytes) -> None:
    """Read the config, and beside it the quantizer's own file."""
    given = json.loads(data)
    if not isinstance(given, dict):
        return
    quantized = given.pop("hf_quant_config", None)
    beside = quantized if isinstance(quantized, dict) else None
    resolve(
        ModelRef(config=given, hf_quant_config=beside),
        CATALOG,
        quantization=None,
        kv_cache_dtype=None,
    )


def _safetensors(data: bytes) -> None:
    given = json.loads(data)
    if isinstance(given, dict):
        read_safetensors(given)


def _configs() -> list[bytes]:
    models = CATALOG.models.values()
    return [json.dumps(entry.config).encode() for entry in models if entry.config is not None]


def _headers() -> list[bytes]:
    """Return GGUF headers of the documents' examples."""
    found = [path.read_text() for path in sorted(EXAMPLES.glob("*gguf*"))]
    models = [json.loads(text)["request"]["body"]["model"]["gguf"] for text in found]
    return [base64.b64decode(header) for header in models if isinstance(header, str)]


def _listings() -> list[bytes]:
    index = {"metadata": {"total_size": 8}, "weight_map": {"model.norm.weight": "a.safetensors"}}
    header = {"model.norm.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}
    return [json.dumps(each).encode() for each in (index, header, {"__metadata__": {}, **header})]


SLURM = b"NodeName=a1 Gres=gpu:h100:8(S:0-1) State=IDLE RealMemory=1000 AllocTRES=gres/gpu=2\n"
TABLE = HERE.parents[1] / "docs/examples/nodes.csv"

TARGETS: Mapping[str, Target] = {
    "config": Target(_config, _configs),
    "csv": Target(_inventory("csv"), lambda: [TABLE.read_bytes()]),
    "gguf": Target(lambda data: read_gguf(data, CATALOG.schemes), _headers),
    "kubernetes": Target(_inventory("kubernetes"), _printed("kubectl_*")),
    "nvidia-smi": Target(_inventory("nvidia-smi", "node-1"), _printed("smi_*")),
    "safetensors": Target(_safetensors, _listings),
    "slurm": Target(_inventory("slurm"), lambda: [SLURM, SLURM.replace(b" ", b"\n   ")]),
}


def main() -> None:
    """Fuzz the reader that the first argument names, for so many seconds as the second says."""
    name, *more = sys.argv[1:]
    target, seconds = TARGETS[name], int(more[0]) if more else SECONDS

    def once(data: bytes) -> None:
        try:
            target.read(data)
        except InvalidInput:
            return
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            if not isinstance(error, ValueError) or target.read not in (_config, _safetensors):
                raise  # what is no JSON is refused before these two are asked

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds()):
            Path(folder, f"seed-{number}").write_bytes(seed[:LARGEST])
        limits = (
            f"-max_total_time={seconds}",
            f"-timeout={SLOWEST}",
            f"-max_len={LARGEST}",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        )
        atheris.Setup([sys.argv[0], *limits, folder], once)
        atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
