"""What vLLM's kernels keep of GPTQ's matrices once they are loaded.

Source: kernels/linear/mixed_precision (marlin.py from SM75, machete.py on SM90, exllama.py from
SM60), before it quantization/gptq.py and gptq_marlin.py.
"""

from rackfit.catalog.entries import Scheme
from rackfit.engines import marlin
from rackfit.engines.hardware import AMD

BY_EXLLAMA = AMD | {"volta"}
"""Where GPTQ has no Marlin."""


def column_bytes(scheme: Scheme, generation: str) -> int:
    """As Marlin's kernels need it; Hopper's (Machete) leave plain tables where they are.

    Exllama's keep of those in another order where each column stands, and no group.
    """
    exllama = generation in BY_EXLLAMA and scheme.column_order == "sorted"
    if exllama or _by_machete(scheme, generation):
        return scheme.column_bytes
    return marlin.column_bytes(scheme)


def keeps_zeros(scheme: Scheme, generation: str) -> bool:
    """Marlin's kernels drop zero points that say nothing, Machete's and Exllama's leave them."""
    return generation in BY_EXLLAMA or _by_machete(scheme, generation)


def _by_machete(scheme: Scheme, generation: str) -> bool:
    """Tell whether matrices whose columns are in order have Hopper's own kernels."""
    return scheme.column_order == "plain" and generation == "hopper"
