"""What each resource answers, over the catalog as it ships."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rackfit import __version__
from rackfit.catalog import Catalog
from rackfit.settings import Settings
from serving import running

pytestmark = pytest.mark.anyio

CARD = "deepseek-v4-pro"
GIB = 1 << 30
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process."""
    async with running(Settings(compute_processes=1)) as client:
        yield client


async def test_models_are_listed_by_family(client: httpx.AsyncClient, catalog: Catalog) -> None:
    """The family is read case aside, and `total` counts all pages."""
    listed = (await client.get("/v1/models?family=DeepSeek&limit=3")).json()
    expected = [m.id for m in catalog.models.values() if m.family == "deepseek"]
    assert expected[:3] == [model["id"] for model in listed["models"]]
    assert (len(expected), 3, 0) == (listed["total"], listed["limit"], listed["offset"])


@pytest.mark.parametrize(
    ("target", "parameter", "sentence"),
    [
        ("models?family=deepsek", "family", "named 'deepsek'. Did you mean 'deepseek'"),
        ("accelerators?vendor=foo", "vendor", "Known: amd, intel, nvidia."),
        ("accelerators?kind=gpu", "kind", "Known: consumer, datacenter, workstation."),
    ],
)
async def test_a_filter_that_nothing_passes_is_refused(
    client: httpx.AsyncClient, target: str, parameter: str, sentence: str
) -> None:
    """A slip is not answered with an empty list: the names there are come with the refusal."""
    response = await client.get(f"/v1/{target}")
    (violation,) = response.json()["errors"]
    assert (422, f"?{parameter}") == (response.status_code, violation["pointer"])
    assert sentence in violation["detail"]


async def test_filters_that_exclude_each_other_list_nothing(client: httpx.AsyncClient) -> None:
    """Each is known, so the empty list is the answer."""
    listed = await client.get("/v1/accelerators?vendor=INTEL&kind=consumer")
    assert (200, []) == (listed.status_code, listed.json()["accelerators"])


async def test_pages_of_models_join_without_gap(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    """Page after page gives every model once, in order."""
    pages = [
        (await client.get(f"/v1/models?limit=90&offset={offset}")).json()["models"]
        for offset in range(0, len(catalog.models), 90)
    ]
    assert list(catalog.models) == [model["id"] for page in pages for model in page]


async def test_the_card_is_shown_as_published(client: httpx.AsyncClient) -> None:
    """All the card's fields, and the checkpoint that goes by the same name."""
    model = (await client.get(f"/v1/models/{CARD}")).json()
    card = model["card"]
    assert (1_600_000_000_000, 49_000_000_000, 1_048_576) == (
        card["parameters"],
        card["active_parameters"],
        card["context_tokens"],
    )
    assert ("MIT", "2026-04-01") == (model["licence"], model["released"])
    assert "deepseek-ai/DeepSeek-V4-Pro" in model["related"]


async def test_an_unknown_model_offers_the_closest(client: httpx.AsyncClient) -> None:
    """A path that names nothing is a 404 with what may have been meant."""
    response = await client.get("/v1/models/deepseek-v4-por")
    assert 404 == response.status_code
    assert "'deepseek-v4-pro'" in response.json()["detail"]


async def test_the_table_is_the_cards(client: httpx.AsyncClient) -> None:
    """The rule of thumb gives the card's Q4_K_M row to its printed decimal."""
    response = await client.get(f"/v1/models/{CARD}/memory?method=rule-of-thumb&overhead=0.10")
    row = response.json()["rows"][0]
    assert "Q4_K_M" == row["quantization"]
    gib = [round(cell["total_bytes"] / GIB, 1) for cell in row["cells"]]
    assert [827.3, 888.0, 1132.2, 1147.0] == gib


async def test_a_table_of_ones_own_rows_and_columns(client: httpx.AsyncClient) -> None:
    """Lists are comma-separated; columns beyond the context are left out."""
    target = f"/v1/models/{CARD}/memory?quantization=Q8_0,fp8&context_tokens=1000,2000,9999999"
    table = (await client.get(target)).json()
    rows = table["rows"]
    assert [2, 2] == [len(row["cells"]) for row in rows]
    assert [1000, 2000] == [cell["context_tokens"] for cell in rows[0]["cells"]]
    left_out = "context ends at 1,048,576 tokens, so columns are left out: 9,999,999."
    assert any(warning.endswith(left_out) for warning in table["warnings"])


async def test_a_table_with_no_column_left_is_refused(client: httpx.AsyncClient) -> None:
    """A context beyond the model's is wrong here as everywhere."""
    response = await client.get(f"/v1/models/{CARD}/memory?context_tokens=2000000,3000000")
    (violation,) = response.json()["errors"]
    assert (422, "?context_tokens") == (response.status_code, violation["pointer"])
    assert "ends at 1,048,576 tokens; 2,000,000, 3,000,000 were asked" in violation["detail"]


async def test_the_cards_own_columns_are_left_out_without_a_word(
    client: httpx.AsyncClient,
) -> None:
    """Nobody asked for those, so there is nothing to say."""
    table = (await client.get("/v1/models/Qwen%2FQwen3-32B/memory?quantization=fp8")).json()
    assert [1024] == [cell["context_tokens"] for cell in table["rows"][0]["cells"]]
    assert not any("left out" in warning for warning in table["warnings"])


async def test_a_large_table_is_filled_off_the_event_loop(client: httpx.AsyncClient) -> None:
    """Many cells make the same table."""
    columns = ",".join(str(1000 * n) for n in range(1, 50))
    response = await client.get(f"/v1/models/{CARD}/memory?context_tokens={columns}")
    assert 49 == len(response.json()["rows"][0]["cells"])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("quantization=Q5", "?quantization"),
        ("kv_cache_dtype=fp7", "?kv_cache_dtype"),
        ("method=guess", "?method"),
        ("overhead=11", "?overhead"),
        ("context_tokens=0", "?context_tokens"),
    ],
)
async def test_a_wrong_parameter_of_the_table_is_named(
    client: httpx.AsyncClient, query: str, pointer: str
) -> None:
    """The domain's refusals point at parameters too."""
    response = await client.get(f"/v1/models/{CARD}/memory?{query}")
    assert (422, pointer) == (response.status_code, response.json()["errors"][0]["pointer"])


async def test_a_short_name_is_resolved_and_said_so(client: httpx.AsyncClient) -> None:
    """`h100` alone is the SXM part, and a warning says so."""
    found = (await client.get("/v1/accelerators?name=h100")).json()
    assert ["NVIDIA-H100-80GB-HBM3"] == [a["id"] for a in found["accelerators"]]
    assert found["warnings"]


@pytest.mark.parametrize("query", ["vendor=AMD", "kind=consumer", "vendor=nvidia&kind=consumer"])
async def test_accelerators_are_filtered(
    client: httpx.AsyncClient, catalog: Catalog, query: str
) -> None:
    """Vendor and kind narrow the list, together or alone."""
    wanted = dict(part.split("=") for part in query.lower().split("&"))
    expected = [
        accelerator.id
        for accelerator in catalog.accelerators.values()
        if all(getattr(accelerator, name) == value for name, value in wanted.items())
    ]
    listed = (await client.get(f"/v1/accelerators?{query}")).json()
    assert expected == [accelerator["id"] for accelerator in listed["accelerators"]]
    assert expected


@pytest.mark.parametrize(("name", "status"), [("nvidia-h200", 200), ("NVIDIA-H199", 404)])
async def test_an_accelerator_is_shown_by_name(
    client: httpx.AsyncClient, name: str, status: int
) -> None:
    """Any unambiguous name will do, and none that means nothing."""
    assert status == (await client.get(f"/v1/accelerators/{name}")).status_code


async def test_every_scheme_to_serve_in_is_listed(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    """In order of id."""
    listed = (await client.get("/v1/quantizations")).json()["quantizations"]
    assert [s.id for s in catalog.quantizations] == [scheme["id"] for scheme in listed]


async def test_the_version_names_the_catalog(client: httpx.AsyncClient, catalog: Catalog) -> None:
    """Version, digest and date decide every answer."""
    expected = {
        "version": __version__,
        "catalog_digest": catalog.digest,
        "catalog_date": catalog.date,
        "kernel_tables": None,
    }
    assert expected == (await client.get("/v1/version")).json()


async def test_a_normalised_inventory_is_planned_on_unchanged(client: httpx.AsyncClient) -> None:
    """What nvidia-smi printed becomes an inventory that a plan takes as it is."""
    printed = "index, name, memory.total [MiB], memory.used [MiB]\n" + "".join(
        f"{n}, NVIDIA H200, 143771 MiB, 0 MiB\n" for n in range(8)
    )
    normalised = await client.post(
        "/v1/inventories/normalize?format=nvidia-smi&node=gpu-01",
        content=printed,
        headers={"Content-Type": "text/csv"},
    )
    assert (200, None) == (normalised.status_code, normalised.headers.get("etag"))
    body = {
        "model": {"id": "Qwen/Qwen3-8B"},
        "workload": {"context_tokens": 4096},
        "inventory": normalised.json(),
    }
    plan = (await client.post("/v1/plans", json=body)).json()
    assert plan["feasible"] is True
    assert ["gpu-01"] == plan["plans"][0]["nodes"]


async def test_a_header_with_its_tokenizer_is_taken_apart(client: httpx.AsyncClient) -> None:
    """Two megabytes of a GGUF, which is more than other bodies may have."""
    small = (ROOT / "docs/examples/model.gguf").read_bytes()
    content = base64.b64encode(small + bytes(2 << 20)).decode()
    answer = (await client.post("/v1/models/inspect", json={"model": {"gguf": content}})).json()
    assert ("A Model", 494_032_768) == (answer["name"], answer["parameters"]["total"])


async def test_what_is_no_header_is_pointed_at(client: httpx.AsyncClient) -> None:
    """Neither base64 nor GGUF, and of a split file the part at fault: 422 with a pointer."""
    for given, pointer in (
        ("@", "/model/gguf"),
        ("AAAA", "/model/gguf"),
        (["R0dVRg=="], "/model/gguf/0"),
        ([], "/model/gguf"),
    ):
        response = await client.post("/v1/models/inspect", json={"model": {"gguf": given}})
        assert 422 == response.status_code
        assert [pointer] == [error["pointer"] for error in response.json()["errors"]]


async def test_a_header_is_a_model_wherever_one_is_asked_for(client: httpx.AsyncClient) -> None:
    """Memory on two devices of llama.cpp: the file's own tensors, layer by layer."""
    content = base64.b64encode((ROOT / "docs/examples/model.gguf").read_bytes()).decode()
    body = {
        "model": {"gguf": content},
        "engine": {"name": "llama.cpp"},
        "workload": {"context_tokens": 8192},
        "split": {"pipeline": 2},
    }
    answer = (await client.post("/v1/memory", json=body)).json()
    embedding = 151_936 * 896 // 32 * 34
    assert 391_859_712 + embedding == answer["weights_bytes"]  # tied: on the last stage once more


@pytest.mark.parametrize("field", ["name", "domain", "rack", "fabric"])
async def test_a_control_character_in_a_nodes_words_is_refused(
    client: httpx.AsyncClient, field: str
) -> None:
    """NUL, a line's end or an escape sequence would reach logs and terminals."""
    node = {"name": "gpu-01", "accelerator": "NVIDIA-H200", "count": 8} | {field: "gpu\0"}
    workload = {"context_tokens": 1024, "sequences": 1}
    body = {"model": {"id": CARD}, "workload": workload, "inventory": {"nodes": [node]}}
    response = await client.post("/v1/plans", json=body)
    (violation,) = response.json()["errors"]
    assert (422, f"/inventory/nodes/0/{field}") == (response.status_code, violation["pointer"])
    assert violation["detail"].endswith(
        "must be text of 1 to 253 characters without control characters."
    )
