"""Tensors of a usual checkpoint, and configs that say how they are stored."""

import tomllib
from collections.abc import Mapping
from importlib import resources

import msgspec
import pytest

from rackfit.architecture.model import Component, Tensor
from rackfit.architecture.quantization import Quantization, read_quantization
from rackfit.catalog.entries import Scheme
from rackfit.errors import InvalidInput

SCHEMES_FILE = resources.files("rackfit.catalog") / "data" / "schemes.toml"
SCHEMES = {
    scheme.id: scheme
    for scheme in msgspec.convert(tomllib.loads(SCHEMES_FILE.read_text())["scheme"], list[Scheme])
}
SECTION = "/model/config/quantization_config"
LAYERS = 61


def matrix(name: str, component: Component = "attention", copies: int = 1) -> Tensor:
    """Return a linear layer's matrix; experts are told by their names."""
    return Tensor(
        name=name,
        shape=(256, 512),
        component=component,
        shard="experts" if ".experts." in name else "replicated",
        copies=copies,
        linear=True,
    )


Q_PROJ = matrix("model.layers.*.self_attn.q_proj.weight")
O_PROJ = matrix("model.layers.*.self_attn.o_proj.weight")
DENSE = matrix("model.layers.*.mlp.down_proj.weight", "dense_feed_forward")
ROUTER = matrix("model.layers.*.mlp.gate.weight", "router")
EXPERT = matrix("model.layers.*.mlp.experts.*.down_proj.weight", "routed_experts", copies=8)
SHARED = matrix("model.layers.*.mlp.shared_experts.up_proj.weight", "shared_experts")
HEAD = matrix("lm_head.weight", "head")
VISION = matrix("model.visual.blocks.*.attn.qkv.weight", "vision")
EMBEDDING = Tensor(name="model.embed_tokens.weight", shape=(1000, 512), component="embedding")
NORM = Tensor(name="model.layers.*.input_layernorm.weight", shape=(512,), component="norm")
BIAS = Tensor(name="model.layers.*.self_attn.q_proj.bias", shape=(256,), component="attention")
CORRECTION = Tensor(
    name="model.layers.*.mlp.gate.e_score_correction_bias",
    shape=(8,),
    component="router",
    buffer=True,
    dtype="f32",
)
DRAFT_EXPERT = matrix("model.layers.61.mlp.experts.*.down_proj.weight", "draft", copies=8)
DRAFT_ROUTER = Tensor(name="model.layers.61.mlp.gate.weight", shape=(256, 512), component="draft")
DRAFT_JOIN = Tensor(name="model.layers.61.eh_proj.weight", shape=(256, 512), component="draft")
DRAFT_OUTPUT = matrix("model.layers.61.self_attn.o_proj.weight", "draft")


def read(section: Mapping[str, object] | None = None, **config: object) -> Quantization:
    """Read a config of 61 layers and one draft layer with a quantization section."""
    base = {"torch_dtype": "bfloat16", "num_hidden_layers": LAYERS, "num_nextn_predict_layers": 1}
    return read_quantization({**base, "quantization_config": section, **config})


def schemes(stored: Quantization, *tensors: Tensor, layer: int | None = None) -> list[str]:
    """Return the scheme of each tensor."""
    return [stored.scheme_of(tensor, layer) for tensor in tensors]


def refusal(section: object, **config: object) -> tuple[str, str]:
    """Return pointer and detail of the refusal of a section."""
    with pytest.raises(InvalidInput) as refused:
        read_quantization({"num_hidden_layers": LAYERS, "quantization_config": section, **config})
    (violation,) = refused.value.violations
    return violation.pointer, violation.detail
