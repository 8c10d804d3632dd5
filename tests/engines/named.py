"""Engines and models by the names that tests call them: `name` or `name:version`, and an id."""

import msgspec

import truths
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve


def asked(engine: str) -> dict[str, str]:
    """What a question says of an engine."""
    name, _, version = engine.partition(":")
    return {"name": name} | ({"version": version} if version else {})


def started(engine: str) -> Engine:
    """The engine itself."""
    return engine_for(msgspec.convert(asked(engine), EngineChoice), 0.1)


def served(model: str, scheme: str | None = None) -> ServedModel:
    """A model of the catalog as it is stored or in a scheme, with a cache of its own type."""
    reference = ModelRef(id=model)
    return resolve(reference, truths.catalog(), quantization=scheme, kv_cache_dtype=None).model
