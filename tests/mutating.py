"""Published configs gone wrong: what stands in them replaced, dropped, moved or made absurd."""

import copy
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from published import CONFIGS
from rackfit.catalog.load import load_catalog

Config = dict[str, Any]
WORDS = ("full_attention", "sliding_attention", "MEM*", "yarn", "fp8", "NVFP4", "gptq", "re:(a+)+$")
HUGE = 10**4000
NUMBERS = st.sampled_from(
    (0, -1, 1, 7, 10**9, 1 << 63, HUGE, -HUGE, 0.5, 1e308, math.nan, math.inf)
)
OTHERS = st.sampled_from((None, True, False, "", "8", [], {}, [None], [[]], {"": None}))
PLAIN = (
    NUMBERS
    | OTHERS
    | st.integers(-2, 70_000)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=9)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def sources() -> dict[str, Config]:
    """Return every published config here, from the truth's data and from the catalog."""
    entries = load_catalog().models.items()
    return CONFIGS | {name: entry.config for name, entry in entries if entry.config is not None}


SOURCES = sources()
FAMILIES: dict[str, list[str]] = {}
for _name, _config in sorted(SOURCES.items()):
    FAMILIES.setdefault(_config["model_type"], []).append(_name)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draw a config of any family, mutated in one to four places."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    config = copy.deepcopy(SOURCES[draw(st.sampled_from(FAMILIES[family]))])
    for _ in range(draw(st.integers(1, 4))):
        mutate(draw, draw(st.sampled_from(list(holders(config)))))
    return config


def mutate(draw: st.DrawFn, holder: Config) -> None:
    """Change one field of an object in place."""
    if not holder:
        holder[draw(st.text(max_size=3))] = drawn(draw)
        return
    name = draw(st.sampled_from(sorted(holder)))
    value = holder[name]
    match draw(st.sampled_from(("replace", "nudge", "drop", "swap"))):
        case "drop":
            del holder[name]
        case "swap":
            other = draw(st.sampled_from(sorted(holder)))
            holder[name], holder[other] = holder[other], value
        case "nudge" if isinstance(value, int):
            holder[name] = value * draw(st.integers(-1, 9)) + draw(st.integers(-1, 1))
        case "nudge" if isinstance(value, list):
            holder[name] = nudged(draw, value)
        case _:
            holder[name] = drawn(draw)


def drawn(draw: st.DrawFn) -> Any:  # noqa: ANN401 - any JSON
    """Draw a value of its own, which later changes may change further."""
    return copy.deepcopy(draw(VALUES))


def nudged(draw: st.DrawFn, values: list[Any]) -> list[Any]:
    """Return a list cut short, doubled, or with one entry replaced."""
    place = draw(st.integers(0, len(values)))
    match draw(st.sampled_from(("cut", "double", "replace"))):
        case "cut":
            return values[:place]
        case "double":
            return values * 2
        case _:
            return [*values[:place], drawn(draw), *values[place + 1 :]]


def holders(config: Config) -> Iterator[Config]:
    """Yield the config and every object within it."""
    yield config
    for value in config.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from holders(inner)
