"""The tables of the README are the code's own: settings, rejection codes, limits, commands."""

import re
from typing import Any, get_args

import msgspec
import pytest

from documents import ROOT
from rackfit.api.decoding import MAX_PARTS
from rackfit.api.memory import BATCH_RANKS
from rackfit.balancing.question import (
    MOST_CELLS,
    MOST_EXPERTS,
    MOST_LAYERS,
    MOST_RANKS,
    MOST_SLOTS,
    MOST_WINDOWS,
)
from rackfit.engines import ENGINES
from rackfit.engines.rejection import RejectionCode
from rackfit.inventory.model import Inventory, Node
from rackfit.memory.refusals import MAX_RANKS
from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.placement import MAX_LISTED
from rackfit.planning.question import PlanRequest
from rackfit.server.heads import MAX_HEAD_BYTES, MAX_TARGET_BYTES
from rackfit.settings import Settings, read_settings

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, its head left out."""
    _, _, section = README.partition(f"# {heading}\n")
    found = re.search(r"^\|.*\n\| --- .*\n((?:\|.*\n)+)", section, flags=re.MULTILINE)
    assert found is not None, heading
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in found[1].splitlines()]


def unquoted(cell: str) -> str:
    """Return what a cell holds in backticks, nothing where it is empty."""
    return cell.strip("`")


def most(struct: type[msgspec.Struct], field: str) -> int:
    """Return the largest number, or number of entries, that a field takes."""
    schema: dict[str, Any] = msgspec.json.schema(struct)["$defs"][struct.__name__]
    [bound] = {"maximum", "maxItems"} & schema["properties"][field].keys()
    limit: int = schema["properties"][field][bound]
    return limit


def test_every_setting_is_in_the_table() -> None:
    """Variables stand in the order of the settings, none missing and none that is gone."""
    assert list(Settings.variables()) == [unquoted(name) for name, *_ in table("Configuration")]


@pytest.mark.parametrize(("name", "default"), [row[:2] for row in table("Configuration")])
def test_default_is_the_settings_own(name: str, default: str) -> None:
    """To set a variable to the default in the table is to leave it out."""
    assert Settings() == read_settings({unquoted(name): unquoted(default)})


def test_every_rejection_code_is_explained() -> None:
    """The table has the closed list of codes, in its order, each with a sentence."""
    rows = table("Rejection codes")

    assert list(get_args(RejectionCode)) == [unquoted(code) for code, _ in rows]
    assert all(sentence.endswith(".") for _, sentence in rows)


def test_limits_are_the_codes_own() -> None:
    """The figures in the table are those the code compares with, in this order."""
    limits = [
        MAX_RANKS,
        MAX_REPLICA_DEVICES,
        most(Inventory, "nodes"),
        most(Node, "count"),
        MAX_LISTED,
        most(PlanRequest, "limit"),
        most(PlanRequest, "rejection_limit"),
        MOST_LAYERS,
        MOST_EXPERTS,
        MOST_RANKS,
        MOST_SLOTS,
        MOST_WINDOWS,
        MOST_CELLS,
        BATCH_RANKS,
        MAX_HEAD_BYTES,
        MAX_TARGET_BYTES,
        MAX_PARTS,
    ]

    assert [f"{limit:,}" for limit in limits] == [value for _, value in table("Limits")]


def test_every_engine_is_named() -> None:
    """The engines that can be planned for are those the README names."""
    _, _, section = README.partition("**No engine named**")
    paragraph, _, _ = section.partition("\n\n")

    assert set(ENGINES) == set(re.findall(r"`([a-z.-]+)`", paragraph)) - {"launch"}


def test_every_command_is_in_the_table() -> None:
    """`make help` and the README list the same commands, in the same words."""
    told = re.findall(r"^([a-z-]+):.*## (.*)$", MAKEFILE, flags=re.MULTILINE)

    assert [[f"`make {name}`", f"{words}."] for name, words in told] == table("Development")
