"""`/v1/models`: what the catalog knows, and what a model of the caller's is made of."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rackfit.api.answers import ModelDetail, ModelList, ModelOrigin, ModelSummary
from rackfit.api.decoding import check_free_form
from rackfit.api.operation import Context, Operation
from rackfit.api.text import models as text
from rackfit.architecture.parameters import count_parameters
from rackfit.catalog import Catalog
from rackfit.catalog.entries import ModelEntry
from rackfit.errors import NotFound, UnknownName, unknown_name
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest, ModelRef
from rackfit.memory.resolve import read_entry

PAGE = 100
MAX_PAGE = 1000


class ModelsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models to list."""

    family: Annotated[
        str, Meta(max_length=200, description="Only this family, case aside: `deepseek`.")
    ] = ""
    limit: Annotated[
        int, Meta(ge=1, le=MAX_PAGE, description="How many models to list at most.")
    ] = PAGE
    offset: Annotated[
        int, Meta(ge=0, le=1_000_000, description="How many models to pass over.")
    ] = 0


def find_model(context: Context, path: Mapping[str, str]) -> ModelEntry:
    """Return the catalog model a path names.

    Raises:
        NotFound: there is none; the message offers the closest names.
    """
    try:
        return context.catalog.model(path["id"], "")
    except UnknownName as error:
        raise NotFound(str(error)) from error


def check_model(model: ModelRef) -> None:
    """Refuse a config no reader should have to walk.

    Raises:
        InvalidInput: at the config.
    """
    check_free_form(model.config, "/model/config")
    check_free_form(model.hf_quant_config, "/model/hf_quant_config")
    check_free_form(model.safetensors, "/model/safetensors")


def _origin(entry: ModelEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in ModelOrigin.__struct_fields__}


@lru_cache(maxsize=4096)
def summary(catalog: Catalog, model_id: str) -> ModelSummary:
    """Return a model's line in the list; reading all of them once takes a while."""
    entry = catalog.models[model_id]
    architecture, _ = read_entry(entry)
    parameters = count_parameters(architecture)
    return ModelSummary(
        **_origin(entry),
        parameters=parameters.total,
        active_parameters=parameters.active,
        context_tokens=architecture.context_tokens,
    )


def list_models(
    context: Context, _path: Mapping[str, str], query: ModelsQuery, _body: None
) -> ModelList:
    """List the catalog's models in order of id.

    Raises:
        UnknownName: no model is of the family; the message offers the closest ones.
    """
    wanted, every = query.family.casefold(), tuple(context.catalog.models.values())
    entries = [entry for entry in every if not wanted or entry.family.casefold() == wanted]
    if wanted and not entries:
        families = sorted({entry.family for entry in every})
        raise UnknownName(unknown_name("?family", "model family", query.family, families))
    page = entries[query.offset : query.offset + query.limit]
    return ModelList(
        models=tuple(summary(context.catalog, entry.id) for entry in page),
        total=len(entries),
        limit=query.limit,
        offset=query.offset,
    )


def get_model(context: Context, path: Mapping[str, str], _query: None, _body: None) -> ModelDetail:
    """Show one model of the catalog."""
    entry = find_model(context, path)
    inspected = inspect_model(InspectRequest(model=ModelRef(id=entry.id)), context.catalog)
    return ModelDetail(
        **_origin(entry),
        architecture=inspected.architecture,
        parameters=inspected.parameters,
        context_tokens=summary(context.catalog, entry.id).context_tokens,
        checkpoint_bytes=inspected.checkpoint_bytes,
        kv_cache=inspected.kv_cache,
        card=entry.card,
        aliases=tuple(entry.aliases),
        related=tuple(entry.related),
        warnings=inspected.warnings,
        sources=tuple(entry.sources),
    )


def inspect(
    context: Context, _path: Mapping[str, str], _query: None, body: InspectRequest
) -> InspectAnswer:
    """Take a model apart."""
    check_model(body.model)
    return inspect_model(body, context.catalog)


LIST_MODELS = Operation(
    id="list_models",
    method="GET",
    path="/v1/models",
    tag="models",
    summary="List the models in the catalog",
    description=(
        "Models in order of id, a page at a time; `family=deepseek` narrows the list, and a "
        "family that no model is of is refused with the closest ones."
    ),
    run=list_models,
    answer=ModelList,
    text=text.model_list,
    query=ModelsQuery,
)
GET_MODEL = Operation(
    id="get_model",
    method="GET",
    path="/v1/models/{id}",
    tag="models",
    summary="Show one model",
    description=(
        "Everything the catalog knows of a model, by id or alias, case aside. An id may hold "
        "one slash, raw or percent-encoded."
    ),
    run=get_model,
    answer=ModelDetail,
    text=text.model_detail,
)
INSPECT_MODEL = Operation(
    id="inspect_model",
    method="POST",
    path="/v1/models/inspect",
    scope="plan",
    tag="models",
    summary="Take a model apart",
    description=(
        "Parameters by part, bytes of the checkpoint, layout of the KV cache and every tensor "
        "of a catalog model, a published config.json, a card, or the header of a real GGUF. "
        "Beside a config may stand its checkpoint's safetensors header or index: where the two "
        "disagree, a warning says by how much and names tensors. Nothing is fetched: a GGUF's "
        "beginning comes in base64, in a body of `RACKFIT_MODEL_BODY_LIMIT_BYTES` at most."
    ),
    run=inspect,
    answer=InspectAnswer,
    text=text.inspection,
    body=InspectRequest,
    body_limit="model_body_limit_bytes",
    is_large=lambda _, body: body.model.id is None,
)
OPERATIONS = (LIST_MODELS, GET_MODEL, INSPECT_MODEL)
