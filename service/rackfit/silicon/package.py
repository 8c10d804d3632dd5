"""The package itself: its version, the models it carries, and one compiled model at a time.

It is imported when a first plan needs it, in a worker process. What it can be asked is what its
own facade offers (`aiconfigurator_core.sdk`, 0.12); a model it does not carry it would look for on
the internet, so that it is only ever asked for those it carries.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rackfit.errors import NotCovered

NAME = "aiconfigurator-core"
_MODULE = "aiconfigurator_core"
_PROBE = 128
"""Tokens of the request by which it is found out whether there are tables."""

_COMPILED = 256
"""Compiled models a worker keeps, of some kilobytes each."""


def _version() -> str | None:
    try:
        return metadata.version(NAME) if find_spec(_MODULE) else None
    except metadata.PackageNotFoundError:
        return None


VERSION = _version()
"""The installed version, None where it is not there."""


class Pairing(NamedTuple):
    """What a model is compiled for: on which system under which engine, split how."""

    model: str
    system: str
    engine: str
    tensor: int
    pipeline: int
    data: int
    expert: int
    kv_cache: str
    drafted: int


class Compiled(Protocol):
    """A compiled model; times are in milliseconds."""

    def predict_decode_latency(self, bs: int, isl: int, osl: int = 2) -> float:
        """Time of `osl` - 1 steps of `bs` sequences that have `isl` tokens."""

    def predict_prefill_latency(self, bs: int, isl: int, prefix: int = 0) -> float:
        """Time to read `bs` prompts of `isl` tokens, the first `prefix` of them known."""

    def mixed_step_latency(
        self, ctx_tokens: int, gen_tokens: int, isl: int, osl: int, prefix: int = 0
    ) -> float:
        """Time of a pass that reads so many tokens of prompts and writes so many others."""


@contextmanager
def looking_up() -> Iterator[None]:
    """Ask the package something.

    Raises:
        NotCovered: it has nothing for that.
    """
    try:
        yield
    except Exception as error:
        raise NotCovered from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # its Rust's, which is no Exception
            raise
        raise NotCovered from error


@lru_cache(maxsize=_COMPILED)
def compiled(pairing: Pairing) -> Compiled:
    """Compile a model that has times for both phases.

    Raises:
        NotCovered: the package has no tables for that.
    """
    logging.getLogger(_MODULE).setLevel(logging.CRITICAL)  # says what it has no data for
    try:
        return _tried(pairing, attention=None)
    except NotCovered:
        return _tried(pairing, attention="bfloat16")


def _tried(pairing: Pairing, attention: str | None) -> Compiled:
    """Compile with a number type of attention's products, None for the one it chooses."""
    with looking_up():
        from aiconfigurator_core import AicEngine  # noqa: PLC0415 - as said above
        from aiconfigurator_core.sdk.engine import compile_engine  # noqa: PLC0415

        made: Compiled = AicEngine.from_spec(
            compile_engine(
                pairing.model,
                pairing.system,
                pairing.engine,
                tp_size=pairing.tensor,
                pp_size=pairing.pipeline,
                attention_dp_size=pairing.data,
                moe_tp_size=pairing.tensor * pairing.data // pairing.expert,
                moe_ep_size=pairing.expert,
                kvcache_quant_mode=pairing.kv_cache,
                fmha_quant_mode=attention,
                nextn=pairing.drafted,
            )
        )
        made.predict_prefill_latency(1, _PROBE)
        made.predict_decode_latency(1, _PROBE, 2)
    return made


@lru_cache(maxsize=1)
def carried() -> Mapping[str, Mapping[str, Any]]:
    """Return the models the package carries: `config` and, if any, `hf_quant_config`, by name."""
    found: dict[str, dict[str, Any]] = {}
    spec = find_spec(_MODULE)
    for folder in () if spec is None else spec.submodule_search_locations or ():
        for path in sorted(Path(folder, "model_configs").glob("*_config.json")):
            stem = path.name.removesuffix("_config.json")
            model, kind = stem.removesuffix("_hf_quant"), "config"
            if model != stem:
                kind = "hf_quant_config"
            found.setdefault(model.replace("--", "/"), {})[kind] = json.loads(path.read_text())
    return {name: files for name, files in found.items() if "config" in files}
