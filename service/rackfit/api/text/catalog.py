"""The catalog as text: accelerators and quantization schemes."""

from rackfit.api.answers import AcceleratorList, SchemeList
from rackfit.api.text.figures import NONE, count
from rackfit.api.text.table import facts, names, page, sentences, table
from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.memory.question import gib

GIGA = 1e9
TERA = 1e12


def accelerator_list(answer: AcceleratorList) -> str:
    """A line an accelerator: usable GiB, memory bandwidth, dense bf16 speed, domain."""
    titles = ("ACCELERATOR", "KIND", ">GiB", ">GB/s", ">BF16 TFLOP/s", ">DOMAIN", ">NODE")
    return page(
        table(titles, map(_accelerator, answer.accelerators)),
        sentences("Warnings", answer.warnings),
    )


def _accelerator(accelerator: Accelerator) -> tuple[str, ...]:
    return (
        accelerator.id,
        accelerator.kind,
        gib(accelerator.usable_bytes),
        _rate(accelerator.memory_bandwidth, GIGA),
        _rate(accelerator.flops.get("bf16", 0), TERA),
        count(accelerator.domain_size),
        count(accelerator.node_size),
    )


def _sold(accelerator: Accelerator) -> str:
    """Form and capacity, as far as they are told."""
    capacity = accelerator.capacity_gb
    told = (accelerator.form.upper(), f"{capacity:,} GB" if capacity else "")
    return ", ".join(filter(None, told)) or NONE


def _rate(a_second: float, unit: float) -> str:
    return f"{a_second / unit:,.0f}" if a_second else NONE


def accelerator_detail(answer: Accelerator) -> str:
    """Everything the catalog knows of an accelerator."""
    reported = answer.reported_bytes
    speeds = [(f"dense {kind}", f"{_rate(v, TERA)} TFLOP/s") for kind, v in answer.flops.items()]
    return page(
        facts(
            (
                (answer.id, answer.name),
                ("vendor", f"{answer.vendor} {answer.generation}, {answer.kind}"),
                ("sold as", _sold(answer)),
                ("usable", f"{gib(answer.usable_bytes)} GiB ({count(answer.usable_bytes)} bytes)"),
                ("reported", f"{gib(reported)} GiB by the driver's tool" if reported else NONE),
                ("memory", f"{_rate(answer.memory_bandwidth, GIGA)} GB/s"),
                ("scale-up", f"{_rate(answer.scale_up_bandwidth, GIGA)} GB/s a direction"),
                ("scale-out", f"{_rate(answer.scale_out_bandwidth, GIGA)} GB/s a direction"),
                ("domain", f"{answer.domain_size:,} devices, {answer.node_size:,} a node"),
                *speeds,
            )
        ),
        sentences("Also called", names(answer.aliases)),
        sentences("Notes", answer.notes),
        sentences("Sources", answer.sources),
    )


def scheme_list(answer: SchemeList) -> str:
    """A line a scheme: bits a weight with scales included, and the engines that load it."""
    titles = ("SCHEME", "NAME", ">BITS/WEIGHT", "ENGINES")
    return page(table(titles, map(_scheme, answer.quantizations)))


def _scheme(scheme: Scheme) -> tuple[str, ...]:
    return (scheme.id, scheme.name, f"{scheme.bits_per_weight:.2f}", ", ".join(scheme.engines))
