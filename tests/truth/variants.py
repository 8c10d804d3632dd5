"""Variants of a config: fields doubled, halved, switched, reordered, dropped, alone or together.

Every field that may bear on a count is changed by turns, so that no switch of a reader goes
untried; then some are changed together. The same seed gives the same variants.
"""

import copy
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Config = dict[str, Any]
Path = tuple[str, ...]
DROPPED = object()

# What no count depends on, or what the library cannot do without.
PASSED_OVER = re.compile(
    r"token|^_|initializer|init_std|eps$|epsilon|dropout|pdrop|^(model_type|architectures|dtype)"
    r"|torch_dtype|use_cache|return_dict|output_|id2label|label2id|_type$|chunk_size|is_(en|de)coder"
    r"|transformers_version|_act$|activation|aux_loss|scal(e|ing)|softcap|rope|quantization|audio"
    r"|norm_topk|scoring|topk_(method|group)|n_group|jitter|per_layer_config|problem|_name"
)
MOST_TOGETHER = 4


class Variant(NamedTuple):
    """A config and what was changed in it."""

    config: Config
    changes: tuple[str, ...]


def variants(config: Config, seed: str, together: int) -> Iterator[Variant]:
    """Yield a config itself, one with each single change, and some of several changes."""
    yield Variant(config, ())
    changes = [(path, new) for path, old in fields(config) for new in others(old)]
    for path, new in changes:
        yield changed(config, [(path, new)])
    chance = random.Random(seed)  # noqa: S311 - for variety, not for secrets
    for _ in range(together if changes else 0):
        yield changed(
            config, chance.sample(changes, min(len(changes), chance.randint(2, MOST_TOGETHER)))
        )


def fields(config: Config, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every field that may bear on a count, those of nested objects too."""
    for name, value in config.items():
        if PASSED_OVER.search(name):
            continue
        if isinstance(value, dict):
            yield from fields(value, (*above, name))
        else:
            yield (*above, name), value


def others(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    """Return other values for a field; a dropped one is the library's to fill in."""
    match value:
        case bool():
            return [not value, DROPPED]
        case int():
            halved = [value // 2] if value > 1 and value % 2 == 0 else []
            return [new for new in (2 * value, *halved, 1, 0, DROPPED) if new != value]
        case float():
            return [2 * value, DROPPED]
        case None:
            return [64]
        case [*items] if items and all(isinstance(item, str | int) for item in items):
            turned = items[1:] + items[:1]
            return [turned, [items[0]] * len(items), [items[-1]] * len(items), DROPPED]
        case _:
            return [DROPPED]


def changed(config: Config, changes: list[tuple[Path, Any]]) -> Variant:
    """Return a config with some fields changed."""
    config = copy.deepcopy(config)
    for path, new in changes:
        holder = config
        for name in path[:-1]:
            holder = holder[name]
        if new is DROPPED:
            holder.pop(path[-1], None)
        else:
            holder[path[-1]] = new
    return Variant(config, tuple(told(path, new) for path, new in changes))


def told(path: Path, new: Any) -> str:  # noqa: ANN401 - any JSON
    """Tell a change in a few words."""
    name = ".".join(path)
    return f"{name} dropped" if new is DROPPED else f"{name} = {str(new)[:40]}"
