"""What cannot be placed is told field by field, with a pointer."""

from typing import Any

import pytest

from balancing.asking import answer
from rackfit.errors import InvalidInput

Json = dict[str, Any]
GOOD: Json = {"loads": [[1, 2, 3, 4], [4, 3, 2, 1]], "ranks": 2, "slots": 6}
NOW = [[0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 0, 1]]


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"slots": 5}, "/slots", "leave 1 over; 4 or 6 would do"),
        ({"slots": 2}, "/slots", "2 slots cannot hold 4 experts"),
        ({"slots": None, "redundant_experts": 4096}, "/redundant_experts", "At most 4,096"),
        ({"slots": None}, "", "exactly one of `slots` and `redundant_experts`"),
        ({"redundant_experts": 2}, "", "exactly one of `slots` and `redundant_experts`"),
        ({"slots": None, "redundant_experts": 3}, "/redundant_experts", "leave 1 over"),
        ({"windows": [[[1]]]}, "", "exactly one of `loads` and `windows`"),
        ({"loads": None}, "", "exactly one of `loads` and `windows`"),
        ({"loads": []}, "/loads", "nothing to place"),
        ({"loads": [[]]}, "/loads/0", "nothing to place"),
        ({"loads": None, "windows": []}, "/windows", "nothing to place"),
        ({"loads": [[1, 2, 3, 4], [1, 2, 3]]}, "/loads/1", "3 experts, the first has 4"),
        ({"loads": [[1, 2, 3, 4], [1, 2, 3, -4]]}, "/loads/1/3", "this is -4"),
        ({"loads": [[1, 2, 3, 1e19]]}, "/loads/0/3", "0 to 1e+18"),
        ({"loads": [[1]] * 257}, "/loads", "At most 256 layers"),
        ({"loads": [[1] * 1025]}, "/loads/0", "At most 1,024 experts"),
        ({"loads": None, "windows": [[[1] * 4], [[1] * 4] * 2]}, "/windows/1", "2 layers"),
        ({"loads": None, "windows": [[[1] * 4]] * 33}, "/windows", "At most 32 windows"),
        ({"nodes": 3}, "/nodes", "2 ranks are not divided evenly over 3 nodes"),
        ({"groups": 3}, "/groups", "4 experts are not divided evenly in 3 groups"),
        ({"nodes": 2, "hierarchical": True}, "/groups", "1 groups are not divided"),
        ({"speeds": [1]}, "/speeds", "1 speeds for 2 ranks"),
        ({"speeds": [1, 0]}, "/speeds/1", "0.001 to 1000; this is 0"),
        ({"current": NOW[:1]}, "/current", "1 layers, the loads have 2"),
        ({"current": [NOW[0], [0, 1, 2, 3]]}, "/current/1", "4 slots; there are to be 6"),
        ({"current": [NOW[0], [0, 1, 2, 3, 0, 4]]}, "/current/1/5", "experts 0 to 3"),
        ({"current": [NOW[0], [0, 1, 2, 2, 0, 1]]}, "/current/1", "Expert 3 has no slot"),
        ({"move_limit": 3}, "/move_limit", "there is none"),
        ({"move_price": 0.1}, "/move_price", "there is none"),
    ],
)
def test_wrong_field_is_pointed_at(change: Json, pointer: str, says: str) -> None:
    """The pointer is that of the field, and the sentence says what would be right."""
    with pytest.raises(InvalidInput) as refused:
        answer({**GOOD, **change})

    first = refused.value.violations[0]
    assert pointer == first.pointer
    assert says in first.detail


def test_at_most_twenty_are_told() -> None:
    """A table of negative loads is no reason for a megabyte of refusals."""
    with pytest.raises(InvalidInput) as refused:
        answer({**GOOD, "loads": [[-1] * 100]})

    assert 20 == len(refused.value.violations)
