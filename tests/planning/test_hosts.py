"""How many replicas find room apart: the count beside the very placement, node by node."""

from hypothesis import given
from hypothesis import strategies as st

from rackfit.catalog import load_catalog
from rackfit.engines.split import Split
from rackfit.inventory.model import Inventory, Node
from rackfit.planning.cells import apart_cells, packed_cells
from rackfit.planning.hosts import fullest, lost_groups, rooms_of, seats
from rackfit.planning.pools import Pool, read_pools

CATALOG = load_catalog()
PART = CATALOG.accelerators["NVIDIA-H100-80GB-HBM3"]
HALF = PART.usable_bytes // 2


@st.composite
def inventories(draw: st.DrawFn) -> list[Node]:
    """Up to eight nodes, some in domains and racks, some devices half full."""
    drawn = st.tuples(
        st.lists(st.sampled_from([HALF, PART.usable_bytes]), min_size=1, max_size=8),
        st.sampled_from([None, None, "x", "y"]),
        st.sampled_from([None, "a", "b"]),
    )
    nodes = draw(st.lists(drawn, min_size=1, max_size=8))
    return [_node(number, *node) for number, node in enumerate(nodes)]


def _node(number: int, free: list[int], domain: str | None, rack: str | None) -> Node:
    return Node(
        name=f"n{number}",
        accelerator=PART,
        count=len(free),
        free_bytes=free,
        domain=domain,
        rack=rack,
    )


def pool_of(nodes: list[Node]) -> Pool:
    """The pool of some nodes of one type."""
    return read_pools(Inventory(nodes=nodes), CATALOG.accelerator).pools[0]


POOLS = inventories().map(pool_of)
SPLITS = st.builds(
    Split, tensor=st.sampled_from([1, 2, 4, 6]), pipeline=st.integers(1, 3), data=st.integers(1, 2)
)
LEVELS = st.sampled_from([HALF, PART.usable_bytes])


def groups_in(nodes: list[Node], size: int, level: int) -> int:
    """Groups of `size` devices with so much free that nodes have room for."""
    if not nodes:
        return 0
    return sum(g.devices(level) // size * len(g.domains) for g in pool_of(nodes).groups)


@given(pool=POOLS, split=SPLITS, level=LEVELS, most=st.integers(1, 3))
def test_as_many_replicas_are_placed_apart_as_are_counted(
    pool: Pool, split: Split, level: int, most: int
) -> None:
    """None more, at most so many on a node, no device twice."""
    each = split.pipeline * split.data
    rooms = rooms_of(pool, split.tensor, level)
    most = min(most, fullest(rooms, each))
    number = seats(rooms, each, most)
    asked = Split(tensor=split.tensor, pipeline=split.pipeline, data=split.data, replicas=99)
    cells = apart_cells(pool, asked, level, most)
    assert number * each == len(cells)
    devices = [device for cell in cells for device in cell]
    assert len(devices) == len(set(devices)) == len(cells) * split.tensor
    replicas = [cells[start : start + each] for start in range(0, len(cells), each)]
    on = [{node for cell in replica for node, _ in cell} for replica in replicas]
    assert all(sum(node in nodes for nodes in on) <= most for node in set().union(*on))


@given(nodes=inventories(), split=SPLITS, level=LEVELS)
def test_packed_groups_are_as_many_as_asked_and_disjoint(
    nodes: list[Node], split: Split, level: int
) -> None:
    """Whatever the racks, all devices are different and have enough free."""
    each = split.pipeline * split.data
    room = groups_in(nodes, split.tensor, level)
    if room < each:
        return
    asked = Split(
        tensor=split.tensor, pipeline=split.pipeline, data=split.data, replicas=room // each
    )
    cells = packed_cells(pool_of(nodes), asked, level)
    devices = {device for cell in cells for device in cell}
    assert (room // each * each, len(cells) * split.tensor) == (len(cells), len(devices))


@given(nodes=inventories(), size=st.integers(1, 6), level=LEVELS)
def test_what_a_lost_node_takes_is_the_most_of_any(
    nodes: list[Node], size: int, level: int
) -> None:
    """Counted anew with each node gone."""
    left = [[node for node in nodes if node is not lost] for lost in nodes]
    fewest = min(groups_in(some, size, level) for some in left)
    lost = lost_groups(pool_of(nodes), size, level)
    assert groups_in(nodes, size, level) - fewest == lost


def test_more_room_never_makes_it_fewer_replicas() -> None:
    """A host that is added, or grows, leaves at least as many seats."""
    for cells in range(1, 6):
        for rooms in ([(4, 1), (3, 2), (1, 3)], [(5, 2), (2, 2)], [(1, 7)]):
            before = seats(rooms, cells, 1)
            for room in range(1, 7):
                more = sorted([*rooms, (room, 1)], reverse=True)
                assert seats(more, cells, 1) >= before
