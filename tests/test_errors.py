"""What callers are told of names nobody knows, and how pointers are spelled."""

import pytest

from rackfit.errors import FEW, escaped, unknown_name

MANY = tuple(f"qwen-{number}" for number in range(FEW + 1))


@pytest.mark.parametrize(
    ("name", "known", "detail"),
    [
        ("vlm", ("vllm", "sglang"), "There is no engine named 'vlm'. Did you mean 'vllm'?"),
        ("tgi", ("vllm", "sglang"), "There is no engine named 'tgi'. Known: vllm, sglang."),
        ("tgi", MANY, "There is no engine named 'tgi'."),
        ("tgi", (), "There is no engine named 'tgi'."),
        ("x" * 90, MANY, f"There is no engine named '{'x' * 80}...'."),
    ],
)
def test_an_unknown_name_is_told_with_what_may_be_meant(
    name: str, known: tuple[str, ...], detail: str
) -> None:
    """The closest, or all where they are few; never a list nobody reads."""
    assert detail == unknown_name("/engine/name", "engine", name, known).detail


def test_names_are_steps_of_pointers() -> None:
    """Slashes and tildes are escaped (RFC 6901)."""
    assert "a~1b~0c" == escaped("a/b~c")
