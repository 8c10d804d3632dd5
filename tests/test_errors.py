"""What callers are told of names nobody knows, and how pointers are spelled."""

import pytest

from rackfit.errors import escaped, unknown_name

ENGINES = ("vllm", "sglang")


@pytest.mark.parametrize(
    ("name", "few", "detail"),
    [
        ("vlm", True, "There is no engine named 'vlm'. Did you mean 'vllm'?"),
        ("tgi", True, "There is no engine named 'tgi'. Known: vllm, sglang."),
        ("tgi", False, "There is no engine named 'tgi'."),
        ("x" * 90, False, f"There is no engine named '{'x' * 80}...'."),
    ],
)
def test_an_unknown_name_is_told_with_what_may_be_meant(name: str, few: bool, detail: str) -> None:  # noqa: FBT001 (a parameter of the test)
    """The closest, or all where they are few; never a list nobody reads."""
    assert detail == unknown_name("/engine/name", "engine", name, ENGINES, few=few).detail


def test_names_are_steps_of_pointers() -> None:
    """Slashes and tildes are escaped (RFC 6901)."""
    assert "a~1b~0c" == escaped("a/b~c")
