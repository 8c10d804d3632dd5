"""From a Hugging Face `config.json` alone to an exact architecture.

The config's `model_type` chooses a family's reader; nothing after it asks for the family.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from rackfit.architecture.classes import class_of
from rackfit.architecture.familiarity import contradictions, is_harmless, matters
from rackfit.architecture.families import READERS
from rackfit.architecture.fields import Fields, show
from rackfit.architecture.frame import Names
from rackfit.architecture.model import Architecture
from rackfit.errors import InvalidInput, Violation, closest, unknown_name

MAX_NAME = 200
MAX_LISTED = 12
USUAL = ("llama", "qwen3_moe", "deepseek_v3")
"""What new families most resemble, where their name resembles none."""

NOT_COUNTED = (
    "describes a part that no reader counts: its parameters and bytes are missing from every "
    "figure, and an engine that loads it takes more."
)


def known_families() -> tuple[str, ...]:
    """Return every `model_type` that can be read, in alphabetical order."""
    return tuple(sorted(READERS))


def read_config(
    config: Mapping[str, Any], *, pointer: str = "/model/config", assume: str | None = None
) -> Architecture:
    """Read a published config into an architecture, exact to the parameter.

    Args:
        config: the parsed `config.json`.
        pointer: where the config stands in the caller's request (JSON Pointer); `assume`
            stands beside it.
        assume: the family to read a config of an unknown `model_type` as.

    Raises:
        InvalidInput: with one violation per field at fault, for an unknown `model_type`, and
            for fields that the assumed family's reader does not know.
    """
    model_type = config.get("model_type")
    if assume is not None and assume not in READERS:
        at = f"{pointer.rpartition('/')[0]}/assume"
        raise InvalidInput(unknown_name(at, "model family", assume, known_families()))
    if isinstance(model_type, str) and model_type in READERS:
        architecture, _ = _read(config, pointer, model_type)
        needless = f"`assume` is not used: model_type {show(model_type)} has a reader of its own."
        return architecture if assume in {None, model_type} else _warned(architecture, needless)
    if assume is None:
        raise InvalidInput.at(f"{pointer}/model_type", _unknown(config, pointer))
    architecture, fields = _read(config, pointer, assume)
    detail = f"{assume} has no such field, and it may bear on sizes."
    strange = [Violation(at, detail) for at, _ in fields.unread() if matters(at)]
    if strange:
        raise InvalidInput(*strange[:MAX_LISTED])
    return _warned(
        architecture,
        f"There is no reader for model_type {show(model_type)}: read as {assume}, as asked.",
    )


def _read(config: Mapping[str, Any], pointer: str, family: str) -> tuple[Architecture, Fields]:
    """Read a config as a family's; its fields know what was asked of them."""
    fields = Fields(config, pointer)
    architecture = READERS[family](fields, Names(architecture=_name(config, family)))
    fields.check()
    for name in fields.unread_sections():
        if not is_harmless(name):
            architecture = _warned(architecture, f"`{name[:MAX_NAME]}` {NOT_COUNTED}")
    for warning in contradictions(fields.unread(), family):
        architecture = _warned(architecture, warning)
    return architecture, fields


def _warned(architecture: Architecture, warning: str) -> Architecture:
    return msgspec.structs.replace(architecture, warnings=(*architecture.warnings, warning))


def _name(config: Mapping[str, Any], model_type: str) -> str:
    """Return the architecture's own name, which is not checked, else its family's class."""
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures and isinstance(architectures[0], str):
        return architectures[0][:MAX_NAME]
    return class_of(model_type)


def _unknown(config: Mapping[str, Any], pointer: str) -> str:
    """Say that a family is unknown, which are near, and what the nearest makes of the config."""
    model_type = config.get("model_type")
    near = closest(model_type, READERS) if isinstance(model_type, str) else []
    hint = f" The closest known are {', '.join(near)}." if near else ""
    said = (
        "model_type is missing."
        if model_type is None
        else (f"There is no reader for model_type {show(model_type)}.")
    )
    found = [(family, _not_understood(config, pointer, family)) for family in near or USUAL]
    family, fields = min(found, key=lambda pair: len(pair[1]))
    return f"{said}{hint} {_offer(family, fields)} Known: {', '.join(known_families())}."


def _not_understood(config: Mapping[str, Any], pointer: str, family: str) -> list[str]:
    """Return what keeps it from being read as a family: fields, as paths below the config.

    Sections that the family does not have come first, and those that are not there are marked.
    """
    fields = Fields(config, pointer)
    try:
        READERS[family](fields, Names(architecture=_name(config, family)))
        fields.check()
        pointers = [at for at, _ in fields.unread() if matters(at)]
    except InvalidInput as error:
        sections = [name for name in fields.unread_sections() if not is_harmless(name)]
        pointers = [*sections, *(violation.pointer for violation in error.violations)]
    names = [at.removeprefix(f"{pointer}/") for at in pointers]
    return [name if name.split("/")[0] in config else f"{name} (missing)" for name in names]


def _offer(family: str, fields: list[str]) -> str:
    if not fields:
        return f'Its fields are all familiar to {family}: "assume": "{family}" reads it so.'
    more = f" and {len(fields) - MAX_LISTED} more" if len(fields) > MAX_LISTED else ""
    listed = ", ".join(field[:MAX_NAME] for field in fields[:MAX_LISTED])
    return f"As {family} it cannot be read, because of {listed}{more}."
