"""Files of options, as TensorRT-LLM reads them."""

from typing import Any

import msgspec

from rackfit.engines.launch import Phase


def options_file(phase: Phase) -> str:
    """Name the file of a plan's options.

    Replicas of both phases may start in one folder, and theirs differ.
    """
    return "trtllm-options.yaml" if phase == "both" else f"trtllm-options-{phase}.yaml"


def as_yaml(options: dict[str, Any]) -> str:
    """JSON, with the blank behind a colon that YAML wants and JSON may leave out."""
    return msgspec.json.format(msgspec.json.encode(options), indent=0).decode()
