"""A name that could mean two things, or none, is refused with what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.shipped import ACCELERATORS, GIB, INDEX
from rackfit.catalog.entries import Accelerator
from rackfit.catalog.names import AcceleratorIndex
from rackfit.errors import CatalogError, UnknownName


def _refusal(name: str, index: AcceleratorIndex = INDEX) -> str:
    with pytest.raises(UnknownName) as refused:
        index.resolve(name)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "there_is"),
    [
        ("h200-80gb", "NVIDIA-H200 (SXM5, 141 GB) or NVIDIA-H200-NVL (NVL, 141 GB)."),
        ("gpu:l4-48gb:2", "NVIDIA-L4 (PCIe, 24 GB)."),
        ("a30-sxm", "NVIDIA-A30 (PCIe, 24 GB)."),
        ("mi300x-256gb", "AMD-Instinct-MI300X (OAM, 192 GB)."),
    ],
)
def test_a_form_or_capacity_no_part_has_is_refused_with_the_right_ones(
    name: str, there_is: str
) -> None:
    """A name that contradicts the catalog is not read as something near."""
    assert f"Of that name there is {there_is}" in _refusal(name)


@pytest.mark.parametrize("tail", ["1" * 190, "sxm5" * 45, "-80" * 60, "80gb" * 45, "1" * 100_000])
@pytest.mark.parametrize("end", ["", "x", "-"])
def test_a_long_name_is_refused(tail: str, end: str) -> None:
    """However it could be cut up, it names nothing (tests/test_growth.py: and costs its length)."""
    assert "no accelerator named" in _refusal(f"h100{tail}{end}")


def test_a_gres_without_a_type_names_nothing() -> None:
    """A count alone says how many devices there are."""
    assert _refusal("gpu:8").endswith("says how many devices there are, not which.")


def test_suggestions_are_for_the_type_of_a_gres() -> None:
    """The prefix and the count of a gres do not make other names look alike."""
    assert "no accelerator named 'h2000'. Did you mean 'h200'" in _refusal("gpu:h2000:4")


@given(st.text(max_size=300))
def test_any_other_text_is_an_unknown_name(text: str) -> None:
    """Whatever else a client sends is refused at the pointer given, and never a crash."""
    with pytest.raises(UnknownName) as refused:
        INDEX.resolve(f"x{text}", "/accelerator")

    assert ["/accelerator"] == [v.pointer for v in refused.value.violations]


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", " of NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb.me", " of NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-INVALID", " of NVIDIA-A100-SXM4-40GB"),
        ("nvidia_h100_80gb_hbm3_3g.40gb", " of NVIDIA-H100-80GB-HBM3"),
        ("a100_1g.5gb", ""),
        ("mig-1g.10gb", ""),
        ("1c.3g.20gb", ""),
    ],
)
def test_a_mig_slice_is_not_its_device(name: str, whole: str) -> None:
    """A slice is refused as such, with its device where the name can only mean one."""
    assert f"It is a MIG slice{whole}, not a whole device" in _refusal(name)


def test_a_time_sliced_device_is_not_a_whole_one() -> None:
    """The label of a shared device is refused as such."""
    detail = _refusal("NVIDIA-A100-SXM4-80GB-SHARED")

    assert "It is a share of NVIDIA-A100-SXM4-80GB under time-slicing or MPS" in detail


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("a100_pcie", "NVIDIA-A100-80GB-PCIe, NVIDIA-A100-PCIE-40GB"),
        ("gaudi", "Intel-Gaudi-2, Intel-Gaudi-3, Intel-Gaudi-3-PCIe, Intel-Gaudi-3-HL-328"),
        ("rtx 6000", "NVIDIA-RTX-6000-Ada-Generation, Quadro-RTX-6000"),
    ],
)
def test_a_name_of_several_parts_is_refused_with_their_list(name: str, candidates: str) -> None:
    """Nothing is guessed where the catalog does not say how a name is read."""
    assert f"It could be {candidates}: name one of them." in _refusal(name)


def test_a_long_list_of_parts_is_cut_and_counted() -> None:
    """A name that fits very many parts lists six and counts the rest."""
    assert " more: name one of them." in _refusal("rtx")


def test_an_unknown_name_is_refused_with_the_closest_spellings() -> None:
    """A slip of the keyboard is answered with the names it resembles."""
    assert "Did you mean 'h100'" in _refusal("h1000")


def test_a_later_entry_with_the_same_id_replaces_the_earlier_one() -> None:
    """An overlay's entry wins over the shipped one, whatever the case of its id."""
    private = Accelerator(id="nvidia-h200", usable_bytes=100 * GIB, aliases=["ours"])
    index = AcceleratorIndex([*ACCELERATORS, private])

    assert (private, ()) == index.resolve("NVIDIA-H200")
    assert (private, ()) == index.resolve("ours")


def test_an_overlay_adds_accelerators() -> None:
    """A private accelerator answers to its id and aliases beside the shipped ones."""
    private = Accelerator(id="Contoso-X1", usable_bytes=64 * GIB, aliases=["x1"])
    index = AcceleratorIndex([*ACCELERATORS, private])

    assert (private, ()) == index.resolve("X1")
    assert INDEX.resolve("NVIDIA-H200") == index.resolve("NVIDIA-H200")


@pytest.mark.parametrize("alias", ["NVIDIA H200", "gb200-nvl72", "6000-ada"])
def test_two_accelerators_with_one_name_are_a_catalog_error(alias: str) -> None:
    """An id or alias of another part stops the service, and both are named."""
    private = Accelerator(id="Contoso-X1", usable_bytes=64 * GIB, aliases=[alias])
    owner, _ = INDEX.resolve(alias)
    with pytest.raises(CatalogError) as refused:
        AcceleratorIndex([*ACCELERATORS, private])

    assert f"accelerators {owner.id} and Contoso-X1 are both named {alias!r}" == str(refused.value)


def test_a_name_that_two_brands_imply_belongs_to_neither() -> None:
    """Without its brand a name must not pick one of two parts by their order."""
    ours = [Accelerator(id=f"{brand}-X9", usable_bytes=GIB) for brand in ("AMD", "Intel")]
    index = AcceleratorIndex(ours)

    assert (ours[1], ()) == index.resolve("intel-x9")
    assert "It could be AMD-X9, Intel-X9" in _refusal("x9", index)
