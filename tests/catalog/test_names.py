"""Any name an operator sees finds the accelerator it names, and no other."""

from importlib import resources
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.catalog.entries import Accelerator
from rackfit.catalog.names import AcceleratorIndex, fold, without_brands
from rackfit.errors import CatalogError, UnknownName

GIB = 1 << 30
FILES = ("nvidia.toml", "amd.toml", "intel.toml")


def _read(file: str) -> list[Accelerator]:
    path = resources.files("rackfit.catalog") / "data" / "accelerators" / file
    return msgspec.toml.decode(path.read_bytes(), type=dict[str, list[Accelerator]])["accelerator"]


ACCELERATORS = [accelerator for file in FILES for accelerator in _read(file)]
INDEX = AcceleratorIndex(ACCELERATORS)
SPELLINGS = [(n, a) for a in ACCELERATORS for n in (a.id, *a.aliases, *a.shorthands)]


def _refusal(name: str, index: AcceleratorIndex = INDEX) -> str:
    with pytest.raises(UnknownName) as refused:
        index.resolve(name)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A100", "NVIDIA-A100-SXM4-80GB"),
        ("H100", "NVIDIA-H100-80GB-HBM3"),
        ("H200", "NVIDIA-H200"),
        ("H20", "NVIDIA-H20"),
        ("H800", "NVIDIA-H800"),
        ("A800", "NVIDIA-A800-SXM4-80GB"),
        ("GH200", "NVIDIA-GH200-480GB"),
        ("B200", "NVIDIA-B200"),
        ("B300", "NVIDIA-B300-SXM6-AC"),
        ("GB200", "NVIDIA-GB200"),
        ("GB300", "NVIDIA-GB300"),
        ("L4", "NVIDIA-L4"),
        ("L40", "NVIDIA-L40"),
        ("L40S", "NVIDIA-L40S"),
        ("RTX PRO 6000", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"),
        ("A10", "NVIDIA-A10"),
        ("A10G", "NVIDIA-A10G"),
        ("A30", "NVIDIA-A30"),
        ("A40", "NVIDIA-A40"),
        ("V100", "Tesla-V100-SXM2-32GB"),
        ("T4", "Tesla-T4"),
        ("DGX Spark", "NVIDIA-GB10"),
        ("MI250X", "AMD-Instinct-MI250X"),
        ("MI300X", "AMD-Instinct-MI300X"),
        ("MI308X", "AMD-Instinct-MI308X"),
        ("MI325X", "AMD-Instinct-MI325X"),
        ("MI350X", "AMD-Instinct-MI350X"),
        ("MI355X", "AMD-Instinct-MI355X"),
        ("Gaudi 2", "Intel-Gaudi-2"),
        ("Gaudi 3", "Intel-Gaudi-3"),
        ("RTX 6000 Ada", "NVIDIA-RTX-6000-Ada-Generation"),
        ("RTX A6000", "NVIDIA-RTX-A6000"),
        ("RTX A5000", "NVIDIA-RTX-A5000"),
        ("RTX 3090", "NVIDIA-GeForce-RTX-3090"),
        ("RTX 3090 Ti", "NVIDIA-GeForce-RTX-3090-Ti"),
        ("RTX 4090", "NVIDIA-GeForce-RTX-4090"),
        ("RTX 5090", "NVIDIA-GeForce-RTX-5090"),
        ("TITAN RTX", "NVIDIA-TITAN-RTX"),
        ("RX 7900 XTX", "AMD-Radeon-RX-7900-XTX"),
        ("Radeon PRO W7900", "AMD-Radeon-PRO-W7900"),
        ("Radeon AI PRO R9700", "AMD-Radeon-AI-PRO-R9700"),
        ("Arc Pro B60", "Intel-Arc-Pro-B60"),
    ],
)
def test_the_name_an_operator_types(name: str, expected: str) -> None:
    """Every accelerator a cluster has today answers to its everyday name."""
    accelerator, _ = INDEX.resolve(name)

    assert expected == accelerator.id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA-A100-80GB-PCIe"),
        ("NVIDIA-A100-PCIE-80GB", "NVIDIA-A100-80GB-PCIe"),
        ("NVIDIA B300 SXM6 AC", "NVIDIA-B300-SXM6-AC"),
        ("nvidia_h100_80gb_hbm3", "NVIDIA-H100-80GB-HBM3"),
        ("nvidia_a100-sxm4-80gb", "NVIDIA-A100-SXM4-80GB"),
        ("nvidia_gh200_120gb", "NVIDIA-GH200-480GB"),
        ("nvidia_h100_nvl", "NVIDIA-H100-NVL"),
        ("nvidia_rtx_a6000", "NVIDIA-RTX-A6000"),
        ("nvidia_geforce_rtx_4090", "NVIDIA-GeForce-RTX-4090"),
        ("rtx_4090", "NVIDIA-GeForce-RTX-4090"),
        ("nvidia-tesla-a100", "NVIDIA-A100-SXM4-40GB"),
        ("nvidia-tesla-v100", "Tesla-V100-SXM2-16GB"),
        ("nvidia-rtx-pro-6000", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"),
        ("AMD_Instinct_MI300X_OAM", "AMD-Instinct-MI300X"),
        ("AMD_Instinct_MI325_OAM", "AMD-Instinct-MI325X"),
        ("AMD Instinct MI250X / MI250", "AMD-Instinct-MI250"),
        ("HL-325L", "Intel-Gaudi-3"),
        ("Intel(R) Arc(TM) Pro B60 Graphics", "Intel-Arc-Pro-B60"),
        ("Intel® Arc™ Pro B60 Graphics", "Intel-Arc-Pro-B60"),
    ],
)
def test_names_that_tools_print_are_exact(name: str, expected: str) -> None:
    """What labels, drivers' tools, Slurm and clouds print names one part, without a warning."""
    accelerator, warnings = INDEX.resolve(name)

    assert (expected, ()) == (accelerator.id, warnings)


@pytest.mark.parametrize(
    "name", ["h100", "NVIDIA H100", "a100", "a100_80g", "a100_40gb", "h20", "gh200", "v100"]
)
def test_a_shorthand_comes_with_the_sentence_of_the_catalog(name: str) -> None:
    """A name that several parts go by is read as one of them, and the answer says so."""
    accelerator, warnings = INDEX.resolve(name)

    assert len(warnings) == 1
    assert warnings[0] in accelerator.shorthands.values()


def test_h100_alone_is_read_as_the_sxm_part() -> None:
    """The warning names the parts it could have been."""
    _, (warning,) = INDEX.resolve("h100")

    assert warning.startswith("h100 is read as the SXM part with 80 GB; name NVIDIA-H100-PCIe")


@pytest.mark.parametrize("accelerator", ACCELERATORS, ids=lambda a: a.id)
def test_what_the_drivers_tool_prints_finds_the_part(accelerator: Accelerator) -> None:
    """A driver's name finds its part, unless drivers print it for several."""
    if [a.name for a in ACCELERATORS].count(accelerator.name) == 1:
        assert (accelerator, ()) == INDEX.resolve(accelerator.name)


@given(st.sampled_from(SPELLINGS), st.randoms(use_true_random=False))
def test_case_and_separators_do_not_matter(
    spelling: tuple[str, Accelerator], random: Random
) -> None:
    """Any name, in any case and with any separators, finds the same accelerator."""
    name, expected = spelling
    worn = "".join(
        random.choice("-_ .") if c in "-_ " else random.choice([c.lower(), c.upper()]) for c in name
    )

    assert INDEX.resolve(worn)[0] == expected


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
        ("gaudi", "Intel-Gaudi-2, Intel-Gaudi-3"),
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


@pytest.mark.parametrize("alias", ["NVIDIA H200", "h100", "rtx-6000-ada"])
def test_two_accelerators_with_one_name_are_a_catalog_error(alias: str) -> None:
    """An id, shorthand or alias of another part stops the service, and both are named."""
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


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    """Folded names are lower-case letters and digits, and stay as they are."""
    folded = fold(text)

    assert folded == fold(folded)
    assert without_brands(text) == without_brands(folded)
    assert folded == "" or (folded.isascii() and folded.isalnum())
