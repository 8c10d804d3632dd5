"""From a Hugging Face `config.json` alone to an exact architecture.

The config's `model_type` chooses a family's reader; nothing after it asks for the family.
"""

from collections.abc import Mapping
from typing import Any

from rackfit.architecture.families import READERS
from rackfit.architecture.fields import Fields, show
from rackfit.architecture.frame import Names
from rackfit.architecture.model import Architecture
from rackfit.errors import InvalidInput, closest

MAX_NAME = 200


def known_families() -> tuple[str, ...]:
    """Return every `model_type` that can be read, in alphabetical order."""
    return tuple(sorted(READERS))


def read_config(config: Mapping[str, Any], *, pointer: str = "/model/config") -> Architecture:
    """Read a published config into an architecture, exact to the parameter.

    Args:
        config: the parsed `config.json`.
        pointer: where the config stands in the caller's request (JSON Pointer).

    Raises:
        InvalidInput: with one violation per field at fault, or for an unknown `model_type`.
    """
    model_type = config.get("model_type")
    reader = READERS.get(model_type) if isinstance(model_type, str) else None
    if reader is None:
        raise InvalidInput.at(f"{pointer}/model_type", _unknown(model_type))
    fields = Fields(config, pointer)
    architecture = reader(fields, Names(architecture=_name(config, str(model_type))))
    fields.check()
    return architecture


def _name(config: Mapping[str, Any], model_type: str) -> str:
    """Return the architecture's own name, which serves as a label and is not checked."""
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures and isinstance(architectures[0], str):
        return architectures[0][:MAX_NAME]
    return model_type


def _unknown(model_type: object) -> str:
    near = closest(model_type, READERS) if isinstance(model_type, str) else []
    hint = f" The closest known are {', '.join(near)}." if near else ""
    said = (
        "model_type is missing."
        if model_type is None
        else (f"There is no reader for model_type {show(model_type)}.")
    )
    return f"{said}{hint} Known: {', '.join(known_families())}."
