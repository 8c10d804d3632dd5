r"""Lists of modules mean what compressed-tensors and fnmatch mean, and cannot run away."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.architecture.quantization.patterns import ModuleName, compile_patterns
from rackfit.errors import InvalidInput

LAYERS = 62
POINTER = "/model/config/quantization_config/ignore/0"


def means(pattern: str, name: str, layer: int | None = None) -> bool:
    """Tell whether a pattern means a module, in a layer where the name has no number."""
    module = ModuleName.of(name)
    number = layer if module.layer is None else module.layer
    return any(
        patterns.match(module)
        for layers, patterns in compile_patterns([(POINTER, pattern)], LAYERS).items()
        if layers is None or number in layers
    )


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("lm_head", "lm_head.weight"),
        ("gate", "model.layers.*.mlp.gate.weight"),
        ("model.layers.*.self_attn", "model.layers.*.self_attn.q_proj.weight"),
        ("*.mlp.shared_expert.*", "model.layers.*.mlp.shared_expert.up_proj.weight"),
        ("model.layers.*.mlp.gate.weight", "model.layers.*.mlp.gate.weight"),
        ("model.visual*", "model.visual.blocks.*.attn.qkv.weight"),
        ("mtp*", "mtp.layers.0.mlp.gate.weight"),
        ("mtp.layers.0*", "mtp.layers.0.mlp.gate.weight"),
        ("model.layers.61*", "model.layers.61.eh_proj.weight"),
        ("model.layers.*.mlp.experts.3.w1", "model.layers.*.mlp.experts.*.w1.weight"),
        (r"re:.*experts\.3\.w1", "model.layers.*.mlp.experts.*.w1.weight"),
        (r"re:.*gate$", "model.layers.*.gate_proj.gate.weight"),
        ("re:.*lm_head", "lm_head.weight"),
        ("re:.*self_attn.*", "model.layers.*.self_attn.q_proj.weight"),
        (r"re:.*mlp\.gate$", "model.layers.*.mlp.gate.weight"),
        (r"re:.*mlp.(gate|up|down)_proj$", "model.layers.*.mlp.up_proj.weight"),
        (r"re:model\.layers\.\d+\.self_attn\.[qkvo]_proj", "model.layers.*.self_attn.v_proj.bias"),
        (r"re:^model.layers.[0-9]+.mlp.experts.[0-9]+.w1$", "model.layers.*.mlp.experts.*.w1"),
        (r"re:.*experts\.\d+\.(w1|w3)", "model.layers.*.mlp.experts.*.w3.weight"),
        (r"re:model\.layers\.[^.]+\.mlp", "model.layers.*.mlp.gate.weight"),
        (r"re:.*\.w1.*", "model.layers.*.mlp.experts.*.w1.weight"),
        (r"re:.*fc(1|2)?$", "vision.fc.weight"),
    ],
)
def test_patterns_mean_a_module(pattern: str, name: str) -> None:
    """Names, names with `*` and expressions of published configs mean the modules they should."""
    assert means(pattern, name, layer=7)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("gate", "model.layers.*.mlp.gate_proj.weight"),
        ("model.layers.0.mlp", "model.layers.*.mlp.gate.weight"),
        ("model.layers.61*", "model.layers.60.eh_proj.weight"),
        ("mlp.experts.*.w1", "model.layers.*.mlp.experts.*.w2.weight"),
        (r"re:.*mlp\.gate$", "model.layers.*.mlp.gate_proj.weight"),
        (r"re:mlp\.gate", "model.layers.*.mlp.gate.weight"),  # from the beginning, as re.match
        (r"re:.*mlp\.(gate|up)_proj", "model.layers.*.mlp.experts.*.gate_proj.weight"),
        (r"re:model\.layers\.(0|1)\..*", "model.layers.*.mlp.gate.weight"),
        (r"re:.*experts.+w1", "model.layers.*.mlp.expertsw1.weight"),
    ],
)
def test_patterns_do_not_mean_another_module(pattern: str, name: str) -> None:
    """A part of a segment, another layer or another beginning is no match."""
    assert not means(pattern, name, layer=7)


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [
        ("model.layers.7.mlp", [7]),
        (r"re:model\.layers\.(0|1|60)\.mlp", [0, 1, 60]),
        (r"re:model\.layers\.[0-3]\.mlp", [0, 1, 2, 3]),
        (r"re:model\.layers\.5\d\.mlp", list(range(50, 60))),
        (r"re:model\.layers\.6[01]?\.mlp", [6, 60, 61]),
        (r"re:model\.layers\.\d+\.mlp", list(range(LAYERS))),
        (r"re:model\.layers\.\d\.mlp", list(range(10))),
    ],
)
def test_numbers_choose_layers(pattern: str, layers: list[int]) -> None:
    """A number between dots is the layer's, however the expression spells it."""
    name = "model.layers.*.mlp.gate.weight"
    assert layers == [layer for layer in range(LAYERS) if means(pattern, name, layer)]


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$",
        "(a*)*",
        "(a|aa)+",
        "(?=a)b",
        "(?!.*mlp).*",
        r"(a)\1",
        r"\bmlp",
        "[^a]*",
        "a{100}",
        "a**",
        "*a",
        "(a",
        "a)",
        "[a",
        "[z-a]",
        r"\w*\w*x",
        ".*0.*",
        r"layers\.\d*\d*\.",
        "(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)",
        "a?b?c?d?e?f?g?",
        "\N{SNOWMAN}",
    ],
)
def test_what_could_run_away_is_refused(expression: str) -> None:
    """Repeated groups, look-around, back-references and the like are refused at their pointer."""
    with pytest.raises(InvalidInput) as refused:
        compile_patterns([(POINTER, f"re:{expression}")], LAYERS)
    (violation,) = refused.value.violations
    assert violation.pointer == POINTER
    assert "Supported are" in violation.detail


@pytest.mark.parametrize(
    "pattern",
    [
        "re:" + ".*a" * 90 + "z",
        "re:" + ".*" * 140 + "z",
        r"re:.*\w*x" + ".*.*z" * 20,
        "*a" * 140 + "z",
    ],
)
def test_the_worst_patterns_are_fast(pattern: str) -> None:
    """What backtracking would not finish in a lifetime takes well under a second."""
    name = "a" * 200
    began = time.monotonic()
    assert not means(pattern, name)
    assert time.monotonic() - began < 1


SEGMENTS = ("model", "mlp", "gate", "gate_proj", "up_proj", "self_attn", "w1", "fc2")
ATOMS = ("mlp", "gate", "_proj", "w1", "w", "up", r"\.", ".", r"\w", "[a-z_]", "[^.]", "self_attn")
pieces = st.sampled_from(ATOMS)
alternatives = st.lists(pieces, min_size=1, max_size=3).map(lambda a: f"({'|'.join(a)})")
parts = st.tuples(
    st.sampled_from(["", ".*", ".+"]),
    pieces,
    st.one_of(pieces, alternatives, alternatives.map(lambda a: f"{a}?")),
).map("".join)


@given(
    expression=st.lists(parts, min_size=1, max_size=3).map("".join),
    end=st.sampled_from(["", "$"]),
    segments=st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4),
)
def test_expressions_mean_what_re_match_means(
    expression: str, end: str, segments: list[str]
) -> None:
    """Within the supported subset the safe form matches exactly what `re.match` matches."""
    name = ".".join(segments)
    assert (re.match(expression + end, name) is not None) == means(f"re:{expression}{end}", name)


@given(
    layers=st.sets(st.integers(0, LAYERS - 1), min_size=1),
    module=st.sampled_from(["mlp.gate", "self_attn.q_proj", "mlp.experts.3.w1"]),
)
def test_a_list_of_layers_means_those_layers(layers: set[int], module: str) -> None:
    """Folding a list of single names keeps exactly the layers it names."""
    listed = [(POINTER, f"model.layers.{layer}.{module}") for layer in sorted(layers)]
    ((found, patterns),) = compile_patterns(listed, LAYERS).items()
    assert found == frozenset(layers)
    assert patterns.match(ModuleName.of(f"model.layers.*.{module.replace('3', '*')}.weight"))
