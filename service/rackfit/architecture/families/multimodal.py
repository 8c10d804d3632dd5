"""Models that wrap a language model and a vision tower: which is which, and under what names.

A config without a vision section has no tower. Names are the checkpoints' own (transformers,
conversion_mapping); sources of the towers stand in `towers`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import msgspec

from rackfit.architecture.families.nested import DEFAULTS
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Names, Reader
from rackfit.architecture.model import Architecture, Vision
from rackfit.architecture.towers import clip, gemma4, glm4v, llama4, moonvit, pixtral, qwen, step
from rackfit.architecture.towers.blocks import Tower

INHERITED = ("dtype", "torch_dtype", "num_nextn_predict_layers")
TIE = "tie_word_embeddings"


class Wrapper(msgspec.Struct, frozen=True, kw_only=True):
    """A wrapped model: its language model's `model_type`, its tower and where names begin.

    `any_text` wrappers take whatever known language model the config holds. Wrapper and section
    may both say whether the head is tied; `tie` says whose word counts. `tied` holds where
    neither says it.
    """

    text: str
    tower: Tower
    base: str = "model.language_model."
    head: str = "lm_head"
    any_text: bool = False
    tie: Literal["outer", "either", "text"] = "outer"
    tied: bool = False


OLD_BASE = "language_model.model."  # what LLaVA began and many still write
OLD_HEAD = "language_model.lm_head"
KIMI = Wrapper(text="deepseek_v3", tower=moonvit.kimi_k2, base=OLD_BASE, head=OLD_HEAD)

WRAPPERS = {
    "gemma3": Wrapper(
        text="gemma3_text", tower=clip.gemma3, base=OLD_BASE, head=OLD_HEAD, tied=True
    ),
    "gemma4": Wrapper(text="gemma4_text", tower=gemma4.tower, tied=True),
    "glm4v": Wrapper(text="glm4v_text", tower=glm4v.tower, tie="either"),
    "glm4v_moe": Wrapper(text="glm4v_moe_text", tower=glm4v.tower, tie="either"),
    "kimi_k25": KIMI,
    "kimi_vl": Wrapper(text="deepseek_v3", tower=moonvit.kimi_vl, base=OLD_BASE, head=OLD_HEAD),
    "kimi_k3": Wrapper(text="kimi_linear", tower=moonvit.kimi_k3, base=OLD_BASE, head=OLD_HEAD),
    "llama4": Wrapper(
        text="llama4_text", tower=llama4.tower, base=OLD_BASE, head=OLD_HEAD, tie="text"
    ),
    "llava": Wrapper(
        text="llama", tower=clip.llava, base=OLD_BASE, head=OLD_HEAD, any_text=True, tie="either"
    ),
    "llava_next": Wrapper(
        text="llama", tower=clip.llava_next, base=OLD_BASE, head=OLD_HEAD, any_text=True
    ),
    "minimax_m3_vl": Wrapper(
        text="minimax_m3", tower=clip.minimax, base=OLD_BASE, head=OLD_HEAD, tie="either"
    ),
    "mistral3": Wrapper(
        text="mistral", tower=pixtral.tower, base=OLD_BASE, head=OLD_HEAD, any_text=True
    ),
    "qwen2_vl": Wrapper(text="qwen2_vl_text", tower=qwen.qwen2, base="model.", tie="either"),
    "qwen2_5_vl": Wrapper(text="qwen2_vl_text", tower=qwen.qwen2_5, base="model.", tie="either"),
    "qwen3_vl": Wrapper(text="qwen3_vl_text", tower=qwen.qwen3_vl),
    "qwen3_vl_moe": Wrapper(text="qwen3_vl_moe_text", tower=qwen.qwen3_vl),
    "qwen3_5": Wrapper(text="qwen3_5_text", tower=qwen.qwen3),
    "qwen3_5_moe": Wrapper(text="qwen3_5_moe_text", tower=qwen.qwen3),
    "step3p7": Wrapper(text="step3p5", tower=step.tower, base="model."),
}


def read(
    wrapper: Wrapper, texts: Mapping[str, Reader], fields: Fields, names: Names
) -> Architecture:
    """Read the language model, from its section or (older configs) from the config itself."""
    nested = fields.has("text_config")
    section = fields.section("text_config") if nested else fields
    said = section.text("model_type") if nested else ""
    family = said if wrapper.any_text and said in texts else wrapper.text
    if wrapper.any_text and said:
        detail = f"There is no reader for a language model of model_type {said!r:.80}."
        section.require("model_type", detail, holds=said in texts)
    text = section.inherit(fields, *INHERITED)
    if nested:
        text = text.or_else(**DEFAULTS.get(family, {}))
        text = text.replace(**{TIE: tied(wrapper, fields, section)})
    names = msgspec.structs.replace(names, base=wrapper.base, head=wrapper.head)
    architecture = texts[family](text, names)
    if not fields.has("vision_config"):
        return architecture
    vision = fields.section("vision_config")
    tower = wrapper.tower(vision, fields, architecture.hidden_size)
    return msgspec.structs.replace(
        architecture,
        outer=(*architecture.outer, *tower),
        vision=Vision(
            layers=vision.optional("num_hidden_layers"), width=vision.optional("hidden_size")
        ),
    )


def tied(wrapper: Wrapper, outer: Fields, text: Fields) -> bool:
    """Say whether the head is the embedding, from what wrapper and section say."""
    said = [fields.flag(TIE) for fields in (outer, text) if fields.has(TIE)]
    if not said:
        return wrapper.tied
    if wrapper.tie == "either":
        return any(said)
    return said[-1] if wrapper.tie == "text" else said[0]


def readers(texts: Mapping[str, Reader]) -> dict[str, Reader]:
    """Return the readers of wrapped models, given those of language models."""
    return {model_type: partial(read, w, texts) for model_type, w in WRAPPERS.items()}
