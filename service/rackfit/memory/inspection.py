"""`POST /v1/models/inspect`: what a model is made of."""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture.model import Component
from rackfit.architecture.parameters import sum_parameters
from rackfit.catalog import Catalog
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.question import InspectAnswer, InspectRequest, KvCacheLayout, TensorLine
from rackfit.memory.resolve import resolve_request

OUTSIDE: Mapping[Component, str] = {
    "draft": "llama.cpp's converter leaves out this model's multi-token-prediction layers",
    "vision": "The vision tower is a GGUF of its own (mmproj), in 16 bits",
}
"""Why a part is in no checkpoint file beside the others."""

Key = str | tuple[str, tuple[int, ...], str]
"""A name that nothing else has, else name, shape and scheme; hashing all for each takes longer."""


def inspect_model(request: InspectRequest, catalog: Catalog) -> InspectAnswer:
    """Answer what a model is made of.

    Raises:
        InvalidInput: the model, scheme or cache type cannot be read.
    """
    engine, resolved = resolve_request(request, catalog, 0)
    model = resolved.model
    lines, counted = tensor_lines(model), resolved.checkpoint_bytes
    if counted is None:
        outside = model.storage.outside
        counted = sum([line.bytes for line in lines if line.component not in outside])
    aside = {
        part: sum(line.bytes for line in lines if line.component == part)
        for part in sorted(model.storage.outside)
    }
    return InspectAnswer(
        id=resolved.id,
        name=model.name,
        architecture=model.architecture.name,
        parameters=sum_parameters(
            model.architecture, [(line.component, line.parameters) for line in lines]
        ),
        checkpoint_bytes=counted,
        kv_cache=_kv_cache(model, engine),
        tensors=tuple(lines),
        warnings=(*resolved.warnings, *_apart(aside)),
    )


def tensor_lines(model: ServedModel) -> list[TensorLine]:
    """One line a tensor name, shape and scheme, over all layers."""
    found: dict[Key, TensorLine] = {}
    groups = [(count, block.tensors) for count, block in model.blocks]
    for layers, tensors in (*groups, (1, model.outer), (1, model.draft)):
        for stored in tensors:
            tensor = stored.tensor
            line = TensorLine(
                name=tensor.name,
                count=layers * tensor.copies,
                shape=tensor.shape,
                parameters=0 if tensor.buffer else layers * stored.elements,
                bytes=layers * stored.stored_bytes,
                scheme=stored.scheme.id,
                component=tensor.component,
            )
            other = found.setdefault(line.name, line)
            if other is not line:
                _add(found, other, line)
    return list(found.values())


def _add(found: dict[Key, TensorLine], namesake: TensorLine, line: TensorLine) -> None:
    """Add a line to its `namesake` if they are alike, else to the line that is like it, if any."""
    key: Key = line.name
    like: TensorLine | None = namesake
    if (namesake.shape, namesake.scheme) != (line.shape, line.scheme):
        key = (line.name, line.shape, line.scheme)
        like = found.get(key)
    if like is not None:
        line = msgspec.structs.replace(
            line,
            count=like.count + line.count,
            parameters=like.parameters + line.parameters,
            bytes=like.bytes + line.bytes,
        )
    found[key] = line


def _apart(aside: Mapping[Component, int]) -> Iterator[str]:
    """Say what is listed and yet not in the file."""
    for part, size in aside.items():
        if size:
            yield f"{OUTSIDE[part]}: its {size:,} bytes are not in checkpoint_bytes."


def _kv_cache(model: ServedModel, engine: Engine) -> KvCacheLayout:
    limits = engine.limits(None, model.architecture.context_tokens)
    cache = engine.stage_cache(model, Split(), model.kind_counts, limits)
    constant = sum(
        term.constant_bytes if term.window is None else term.sequence_bytes(term.window)
        for term in cache.terms
    )
    return KvCacheLayout(
        dtype=model.kv_cache_dtype,
        bytes_per_token=round(cache.bytes_per_token),
        bytes_per_sequence=constant,
    )
