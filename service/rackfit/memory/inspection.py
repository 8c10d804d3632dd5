"""`POST /v1/models/inspect`: what a model is made of."""

from rackfit.architecture.parameters import count_parameters
from rackfit.catalog import Catalog
from rackfit.engines import engine_for
from rackfit.engines.served import ServedModel, StoredTensor
from rackfit.engines.split import Split
from rackfit.memory.question import InspectAnswer, InspectRequest, KvCacheLayout, TensorLine
from rackfit.memory.resolve import resolve


def inspect_model(request: InspectRequest, catalog: Catalog) -> InspectAnswer:
    """Answer what a model is made of.

    Raises:
        InvalidInput: the model, scheme or cache type cannot be read.
    """
    resolved = resolve(
        request.model,
        catalog,
        quantization=request.quantization,
        kv_cache_dtype=request.kv_cache_dtype,
    )
    model = resolved.model
    lines = tensor_lines(model)
    return InspectAnswer(
        id=resolved.id,
        name=model.name,
        architecture=model.architecture.name,
        parameters=count_parameters(model.architecture),
        checkpoint_bytes=sum(line.bytes for line in lines),
        kv_cache=_kv_cache(model, request),
        tensors=tuple(lines),
        warnings=resolved.warnings,
    )


def tensor_lines(model: ServedModel) -> list[TensorLine]:
    """One line a tensor name, shape and scheme, over all layers."""
    counts: dict[tuple[str, tuple[int, ...], str], int] = {}
    stored_by: dict[tuple[str, tuple[int, ...], str], StoredTensor] = {}
    for count, stored in _counted(model):
        tensor = stored.tensor
        key = (tensor.name, tensor.shape, stored.scheme.id)
        counts[key] = counts.get(key, 0) + count
        stored_by[key] = stored
    return [_line(stored_by[key], count) for key, count in counts.items()]


def _counted(model: ServedModel) -> list[tuple[int, StoredTensor]]:
    layers = [
        (model.order.count(kind), stored)
        for kind, tensors in enumerate(model.layer_tensors)
        for stored in tensors
    ]
    return layers + [(1, stored) for stored in (*model.outer, *model.draft)]


def _line(stored: StoredTensor, layers: int) -> TensorLine:
    tensor = stored.tensor
    return TensorLine(
        name=tensor.name,
        count=layers * tensor.copies,
        shape=tensor.shape,
        parameters=0 if tensor.buffer else layers * tensor.elements,
        bytes=layers * stored.stored_bytes,
        scheme=stored.scheme.id,
        component=tensor.component,
    )


def _kv_cache(model: ServedModel, request: InspectRequest) -> KvCacheLayout:
    engine = engine_for(request.engine, 0)
    counts = [model.order.count(kind) for kind in range(len(model.kinds))]
    limits = engine.limits(None, model.architecture.context_tokens)
    cache = engine.stage_cache(model, Split(), counts, limits)
    constant = sum(
        term.constant_bytes if term.window is None else term.sequence_bytes(term.window)
        for term in cache.terms
    )
    return KvCacheLayout(
        dtype=model.kv_cache_dtype,
        bytes_per_token=round(cache.bytes_per_token),
        bytes_per_sequence=constant,
    )
