"""The accelerator catalog is data that decides whether a model fits: hold it together."""

import re
from importlib import resources
from itertools import combinations

import msgspec
import pytest

from rackfit.catalog.entries import Accelerator
from rackfit.catalog.names import AcceleratorIndex, fold
from rackfit.errors import UnknownName

GIB = 1 << 30
MIB = 1 << 20
DATA = resources.files("rackfit.catalog") / "data" / "accelerators"


def _read() -> list[Accelerator]:
    return [
        accelerator
        for vendor in ("nvidia", "amd", "intel")
        for accelerator in msgspec.toml.decode(
            (DATA / f"{vendor}.toml").read_bytes(), type=dict[str, list[Accelerator]]
        )["accelerator"]
    ]


ACCELERATORS = {a.id: a for a in _read()}
every = pytest.mark.parametrize("accelerator", ACCELERATORS.values(), ids=ACCELERATORS.keys())


def test_no_two_entries_have_the_same_id() -> None:
    """An id stands once in all the files, whatever its case and separators."""
    ids = [fold(a.id) for a in _read()]

    assert sorted(set(ids)) == sorted(ids)


def test_no_name_belongs_to_two_accelerators() -> None:
    """Ids and aliases are disjoint between accelerators, once folded."""
    names = {a.id: {fold(n) for n in (a.id, *a.aliases)} for a in _read()}
    shared = [(a, b, names[a] & names[b]) for a, b in combinations(names, 2)]

    assert [] == [clash for clash in shared if clash[2]]


def _reads_as(index: AcceleratorIndex, name: str, id_: str) -> bool:
    try:
        accelerator, warnings = index.resolve(name)
    except UnknownName:
        return False
    return accelerator.id == id_ and not warnings


@every
def test_every_alias_says_something_new(accelerator: Accelerator) -> None:
    """Without an alias its name would be unknown, another's, or come with a warning."""
    redundant = []
    for alias in accelerator.aliases:
        others = [a for a in accelerator.aliases if a != alias]
        changed = msgspec.structs.replace(accelerator, aliases=others)
        without = AcceleratorIndex((ACCELERATORS | {accelerator.id: changed}).values())
        if _reads_as(without, alias, accelerator.id):
            redundant.append(alias)

    assert [] == redundant


@every
def test_what_a_part_is_sold_by_agrees_with_its_memory_and_its_name(
    accelerator: Accelerator,
) -> None:
    """The capacity is the driver's total or up to 9 % more: ECC, and what is not enabled."""
    reported_gib = (accelerator.reported_bytes or accelerator.usable_bytes) / GIB
    capacity = accelerator.capacity_gb or 0
    named = re.findall(r"-(\d+)GB?\b", accelerator.id)

    assert int(reported_gib) <= capacity <= 1.09 * reported_gib
    # The GB in this name are the CPU's.
    assert accelerator.id == "NVIDIA-GH200-480GB" or named in ([], [str(capacity)])


@every
def test_forms_are_those_that_names_carry(accelerator: Accelerator) -> None:
    """A form is none, or one that may stand in a name; SXM carries its generation."""
    assert re.fullmatch(r"|sxm[2-6]|pcie|nvl|oam", accelerator.form)


def test_parts_of_one_product_can_be_told_apart() -> None:
    """Parts that share a product are read in an order, or each has a form and capacity alone."""
    products = {a.product for a in ACCELERATORS.values() if a.product}
    for product in products:
        parts = [a for a in ACCELERATORS.values() if a.product == product]
        first, *others = sorted((a.precedence for a in parts), reverse=True)
        apart = {(a.form, a.capacity_gb, a.generation) for a in parts}

        assert (others and first > max(others)) or len(apart) == len(parts), product


@every
def test_memory_is_within_physical_bounds(accelerator: Accelerator) -> None:
    """An engine sees at most what the driver reports and not much less."""
    reported = accelerator.reported_bytes or accelerator.usable_bytes

    assert 14 * GIB <= accelerator.usable_bytes <= reported <= 300 * GIB
    assert 0.94 * reported <= accelerator.usable_bytes
    assert reported % MIB == 0


@every
def test_speeds_are_within_physical_bounds(accelerator: Accelerator) -> None:
    """Bandwidths and operations a second are those of hardware that has been built."""
    assert 250e9 <= accelerator.memory_bandwidth <= 8e12
    assert 3e9 <= accelerator.scale_out_bandwidth <= 100e9
    assert accelerator.scale_out_bandwidth <= accelerator.scale_up_bandwidth <= 900e9
    assert all(60e12 <= f <= 15e15 for f in accelerator.flops.values())


@every
def test_narrower_floats_are_never_slower(accelerator: Accelerator) -> None:
    """Operations a second do not fall from 16 to 8 to 4 bits, and bf16 is as fast as fp16."""
    flops = accelerator.flops
    wide = flops.get("bf16") or flops["fp16"]
    ladder = [wide, *(flops[k] for k in ("fp8", "fp4") if k in flops)]

    assert {"bf16", "fp16", "fp8", "fp4", "int8"} >= flops.keys()
    assert flops.get("fp16", wide) == wide
    assert ladder == sorted(ladder)


@every
def test_a_node_is_at_least_one_domain(accelerator: Accelerator) -> None:
    """A domain is a whole number of nodes, and one device alone has only its network."""
    assert accelerator.domain_size >= accelerator.node_size
    assert accelerator.domain_size % accelerator.node_size == 0
    if accelerator.domain_size == 1:
        assert accelerator.scale_up_bandwidth == accelerator.scale_out_bandwidth


@every
def test_every_entry_is_described_and_sourced(accelerator: Accelerator) -> None:
    """Memory is quoted from a log or a tool, or a note says how it was derived."""
    quoted = [s for s in accelerator.sources if re.search(r"\d ?(?:MiB|GiB|MB|bytes)\b", s)]
    derived = [n for n in accelerator.notes if n.startswith("derived: ")]

    assert accelerator.name
    assert accelerator.generation
    assert accelerator.vendor in {"nvidia", "amd", "intel"}
    assert accelerator.sources
    assert quoted or derived


@pytest.mark.parametrize(
    ("id_", "usable_gib"),
    [
        ("NVIDIA-H100-80GB-HBM3", 79.19),
        ("NVIDIA-H200", 139.8),
        ("NVIDIA-GeForce-RTX-3090", 23.58),
        ("NVIDIA-A100-SXM4-40GB", 39.5),
        ("NVIDIA-A100-SXM4-80GB", 79.15),
        ("NVIDIA-H20-3e", 139.8),
    ],
)
def test_what_engines_logged_as_total_memory(id_: str, usable_gib: float) -> None:
    """`usable_bytes` is the total that engines print at start-up, to 0.1 GiB."""
    assert usable_gib == pytest.approx(ACCELERATORS[id_].usable_bytes / GIB, abs=0.1)


@pytest.mark.parametrize(
    ("id_", "reported_mib"),
    [
        ("NVIDIA-H100-80GB-HBM3", 81_559),
        ("NVIDIA-H100-PCIe", 81_559),
        ("NVIDIA-H100-NVL", 95_830),
        ("NVIDIA-H200", 143_771),
        ("NVIDIA-H20", 97_871),
        ("NVIDIA-B200", 183_359),
        ("NVIDIA-B300-SXM6-AC", 275_040),
        ("NVIDIA-GB200", 189_471),
        ("NVIDIA-GB300", 284_208),
        ("NVIDIA-A100-SXM4-80GB", 81_920),
        ("NVIDIA-A100-SXM4-40GB", 40_960),
        ("NVIDIA-L40S", 46_068),
        ("NVIDIA-L4", 23_034),
        ("NVIDIA-A10", 23_028),
        ("NVIDIA-GeForce-RTX-4090", 24_564),
        ("NVIDIA-GeForce-RTX-3090", 24_576),
        ("AMD-Instinct-MI300X", 196_592),
        ("AMD-Instinct-MI325X", 262_128),
        ("AMD-Instinct-MI355X", 294_896),
        ("Intel-Gaudi-3", 131_072),
    ],
)
def test_what_the_drivers_tools_print(id_: str, reported_mib: int) -> None:
    """`reported_bytes` is the tool's total memory to the MiB."""
    assert reported_mib * MIB == ACCELERATORS[id_].reported_bytes


@pytest.mark.parametrize(
    ("id_", "memory", "scale_up", "scale_out"),
    [
        ("NVIDIA-A100-SXM4-80GB", 2.039e12, 300e9, 25e9),
        ("NVIDIA-H100-80GB-HBM3", 3.35e12, 450e9, 50e9),
        ("NVIDIA-H200", 4.8e12, 450e9, 50e9),
        ("NVIDIA-B200", 8e12, 900e9, 50e9),
        ("NVIDIA-GB200", 8e12, 900e9, 50e9),
        ("NVIDIA-H100-PCIe", 2e12, 64e9, 50e9),
    ],
)
def test_bandwidths_of_the_parts_most_models_run_on(
    id_: str, memory: float, scale_up: float, scale_out: float
) -> None:
    """Memory and links are the datasheets', a device and direction."""
    found = ACCELERATORS[id_]

    assert (memory, scale_up, scale_out) == (
        found.memory_bandwidth,
        found.scale_up_bandwidth,
        found.scale_out_bandwidth,
    )


@pytest.mark.parametrize(
    ("id_", "domain_size", "node_size"),
    [
        ("NVIDIA-H100-80GB-HBM3", 8, 8),
        ("NVIDIA-GB200", 72, 4),
        ("NVIDIA-GB300", 72, 4),
        ("NVIDIA-GB10", 1, 1),
        ("NVIDIA-GH200-480GB", 1, 1),
        ("AMD-Instinct-MI300X", 8, 8),
    ],
)
def test_sizes_of_nodes_and_domains(id_: str, domain_size: int, node_size: int) -> None:
    """A rack of Grace Blackwell trays is one domain, elsewhere the node is."""
    found = ACCELERATORS[id_]

    assert (domain_size, node_size) == (found.domain_size, found.node_size)
