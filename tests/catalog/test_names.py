"""Any name an operator sees finds the accelerator it names."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.shipped import ACCELERATORS, INDEX
from rackfit.catalog.entries import Accelerator
from rackfit.catalog.spelling import fold, without_brands

SPELLINGS = [(n, a) for a in ACCELERATORS for n in (a.id, *a.aliases)]


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
        ("RTX PRO 5000", "NVIDIA-RTX-PRO-5000-Blackwell"),
        ("RTX PRO 4500", "NVIDIA-RTX-PRO-4500-Blackwell"),
        ("RTX PRO 4000", "NVIDIA-RTX-PRO-4000-Blackwell"),
        ("L2", "NVIDIA-L2"),
        ("L20", "NVIDIA-L20"),
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
        ("RTX A5500", "NVIDIA-RTX-A5500"),
        ("RTX 4500 Ada", "NVIDIA-RTX-4500-Ada-Generation"),
        ("RTX 5880 Ada", "NVIDIA-RTX-5880-Ada-Generation"),
        ("Quadro RTX 6000", "Quadro-RTX-6000"),
        ("RTX 5090 D v2", "NVIDIA-GeForce-RTX-5090-D-v2"),
        ("RTX 5090 Laptop", "NVIDIA-GeForce-RTX-5090-Laptop-GPU"),
        ("Radeon PRO W7800", "AMD-Radeon-PRO-W7800"),
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
    ("name", "expected"),
    [
        ("gpu:h100", "NVIDIA-H100-80GB-HBM3"),
        ("gpu:a100:8", "NVIDIA-A100-SXM4-80GB"),
        ("gpu:nvidia_h100_80gb_hbm3:8", "NVIDIA-H100-80GB-HBM3"),
        ("gpu:H200:8(S:0-1)", "NVIDIA-H200"),
        ("gpu:h200:8(S:0,1)", "NVIDIA-H200"),
        ("gpu:b200:2(IDX:0-1)", "NVIDIA-B200"),
        ("gres:gpu:h200:2", "NVIDIA-H200"),
        ("gres/gpu:h200=16", "NVIDIA-H200"),
        ("gpu:l40s:no_consume:8", "NVIDIA-L40S"),
    ],
)
def test_a_slurm_gres_is_read_as_its_type(name: str, expected: str) -> None:
    """What sinfo, scontrol, squeue and sacct print, with count and sockets or without."""
    accelerator, _ = INDEX.resolve(name)

    assert expected == accelerator.id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h100-sxm5-80gb", "NVIDIA-H100-80GB-HBM3"),
        ("H100 SXM 80GiB", "NVIDIA-H100-80GB-HBM3"),
        ("h100_nvlink_80gb", "NVIDIA-H100-80GB-HBM3"),
        ("h100-64", "NVIDIA-H100-SXM5-64GB"),
        ("h100-pcie", "NVIDIA-H100-PCIe"),
        ("h200-sxm-141gb", "NVIDIA-H200"),
        ("h800-sxm5", "NVIDIA-H800"),
        ("h20-sxm-141g", "NVIDIA-H20-3e"),
        ("gh200-144gb", "NVIDIA-GH200-144G-HBM3e"),
        ("B200-192GB", "NVIDIA-B200"),
        ("b200-180gb", "NVIDIA-B200"),
        ("b200-sxm6", "NVIDIA-B200"),
        ("b300-288gb", "NVIDIA-B300-SXM6-AC"),
        ("b300-sxm-288gb", "NVIDIA-B300-SXM6-AC"),
        ("gb200-192gb", "NVIDIA-GB200"),
        ("gb200-186gb", "NVIDIA-GB200"),
        ("gb300-288gb", "NVIDIA-GB300"),
        ("l4-24gb", "NVIDIA-L4"),
        ("l40s-48gb", "NVIDIA-L40S"),
        ("a10-24gb", "NVIDIA-A10"),
        ("a30-24gb", "NVIDIA-A30"),
        ("a30-pcie", "NVIDIA-A30"),
        ("a100-sxm-40gb", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-A100-PCIE-80GB", "NVIDIA-A100-80GB-PCIe"),
        ("v100-sxm2-16gb", "Tesla-V100-SXM2-16GB"),
        ("rtx5090-32gb", "NVIDIA-GeForce-RTX-5090"),
        ("rtx3090-24gb", "NVIDIA-GeForce-RTX-3090"),
        ("rtx-4090-48gb", "NVIDIA-GeForce-RTX-4090-48GB"),
        ("rtx-pro-5000-72gb", "NVIDIA-RTX-PRO-5000-72GB-Blackwell"),
        ("rtx 6000 ada 48gb", "NVIDIA-RTX-6000-Ada-Generation"),
        ("rtx-6000-24gb", "Quadro-RTX-6000"),
        ("mi300x-192gb", "AMD-Instinct-MI300X"),
        ("mi300x-oam", "AMD-Instinct-MI300X"),
        ("mi325", "AMD-Instinct-MI325X"),
        ("mi355", "AMD-Instinct-MI355X"),
        ("habana-gaudi3", "Intel-Gaudi-3"),
        ("gaudi-3-pcie", "Intel-Gaudi-3-PCIe"),
        ("HL-338", "Intel-Gaudi-3-PCIe"),
        ("HL-328", "Intel-Gaudi-3-HL-328"),
    ],
)
def test_form_capacity_and_generation_may_stand_behind_a_product(name: str, expected: str) -> None:
    """One part has all that the name says, so the name is exact."""
    accelerator, warnings = INDEX.resolve(name)

    assert (expected, ()) == (accelerator.id, warnings)


@pytest.mark.parametrize(
    ("name", "expected", "other"),
    [
        ("h100", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe (PCIe, 80 GB)"),
        ("NVIDIA H100", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-SXM5-64GB (SXM5, 64 GB)"),
        ("h100-80gb", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe (PCIe, 80 GB)"),
        ("h100-sxm", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-SXM5-94GB (SXM5, 94 GB)"),
        ("h100-96gb", "NVIDIA-H100-NVL", "NVIDIA-H100-SXM5-94GB (SXM5, 94 GB)"),
        ("a100", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-PCIE-40GB (PCIe, 40 GB)"),
        ("a100_80g", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe (PCIe, 80 GB)"),
        ("a100_40gb", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB (PCIe, 40 GB)"),
        ("h20", "NVIDIA-H20", "NVIDIA-H20-3e (SXM5, 141 GB)"),
        ("gh200", "NVIDIA-GH200-480GB", "NVIDIA-GH200-144G-HBM3e (144 GB)"),
        ("v100", "Tesla-V100-SXM2-32GB", "Tesla-V100-SXM2-16GB (SXM2, 16 GB)"),
    ],
)
def test_a_name_of_several_parts_is_read_by_precedence_with_a_warning(
    name: str, expected: str, other: str
) -> None:
    """The warning says what was read, and names the parts it could have been."""
    accelerator, (warning,) = INDEX.resolve(name)

    assert expected == accelerator.id
    assert warning.startswith(f"{name} is read as {expected} (")
    assert other in warning
    assert warning.endswith(" if that is what you have.")


@pytest.mark.parametrize(
    ("name", "memory_mib", "expected"),
    [
        ("NVIDIA H100", 95_830, "NVIDIA-H100-SXM5-94GB"),
        ("NVIDIA-H100", 95_830, "NVIDIA-H100-SXM5-94GB"),
        ("NVIDIA H100", 65_247, "NVIDIA-H100-SXM5-64GB"),
        ("NVIDIA GeForce RTX 4090", 49_140, "NVIDIA-GeForce-RTX-4090-48GB"),
        ("NVIDIA-GeForce-RTX-4090", 49_140, "NVIDIA-GeForce-RTX-4090-48GB"),
        ("NVIDIA GeForce RTX 4090", 24_564, "NVIDIA-GeForce-RTX-4090"),
        ("NVIDIA GeForce RTX 4090 D", 49_140, "NVIDIA-GeForce-RTX-4090-D-48GB"),
        ("NVIDIA H20", 143_771, "NVIDIA-H20-3e"),
        ("NVIDIA H20", 97_871, "NVIDIA-H20"),
        ("a100-pcie", 40_960, "NVIDIA-A100-PCIE-40GB"),
        # What CUDA sees, and what older drivers print.
        ("NVIDIA-A100-SXM4-40GB", 39_538, "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA A100-SXM4-80GB", 81_251, "NVIDIA-A100-SXM4-80GB"),
    ],
)
def test_total_memory_tells_which_part_a_name_means(
    name: str, memory_mib: int, expected: str
) -> None:
    """Of the parts that go by a name the one with that memory is meant, and nothing is assumed."""
    accelerator, warnings = INDEX.resolve(name, memory_bytes=memory_mib << 20)

    assert (expected, ()) == (accelerator.id, warnings)


def test_what_memory_leaves_ambiguous_is_warned_of() -> None:
    """Two parts of 94 GB go by h100; the warning names the other alone."""
    accelerator, (warning,) = INDEX.resolve("h100", memory_bytes=95_830 << 20)

    assert "NVIDIA-H100-NVL" == accelerator.id
    assert "name NVIDIA-H100-SXM5-94GB (SXM5, 94 GB) if that" in warning


def test_memory_no_part_of_that_name_has_changes_nothing() -> None:
    """With ECC off an A10 has more memory than the catalog's; it is still an A10."""
    accelerator, warnings = INDEX.resolve("NVIDIA A10", memory_bytes=24_564 << 20)

    assert ("NVIDIA-A10", ()) == (accelerator.id, warnings)


def test_h200_alone_is_the_part_whose_driver_prints_it() -> None:
    """NVIDIA H200 is what the SXM part's driver prints; the NVL part's says NVL."""
    accelerator, warnings = INDEX.resolve("h200")

    assert ("NVIDIA-H200", ()) == (accelerator.id, warnings)


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


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    """Folded names are lower-case letters and digits, and stay as they are."""
    folded = fold(text)

    assert folded == fold(folded)
    assert without_brands(text) == without_brands(folded)
    assert folded == "" or (folded.isascii() and folded.isalnum())
