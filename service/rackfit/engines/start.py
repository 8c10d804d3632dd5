"""What an engine is started for, from which it works out what it may take of a device."""

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split


class Start(msgspec.Struct, frozen=True, gc=False):
    """A model in a split on accelerators of one type, for contexts of so many tokens."""

    model: ServedModel
    accelerator: Accelerator
    split: Split
    context_tokens: int

    @property
    def usable(self) -> int:
        """Bytes of a device that the engine sees."""
        return self.accelerator.usable_bytes

    @property
    def reported(self) -> int:
        """Bytes that the driver's tool prints; what the engine sees where it prints none."""
        return self.accelerator.printed_bytes
