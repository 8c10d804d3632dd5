"""No engine named: the layout arithmetic alone, and a stated reserve on each device."""

from typing import ClassVar

from rackfit.engines.hardware import BLACKWELL, Hardware
from rackfit.engines.interface import Engine
from rackfit.engines.start import Start
from rackfit.engines.version import Version
from rackfit.errors import InvalidInput


class Generic(Engine):
    """Whatever serves: the rules all engines share, and nothing of any one's own."""

    name: ClassVar[str] = "generic"
    hardware: ClassVar[Hardware] = Hardware(
        source="NVIDIA Transformer Engine: datatype and hardware support matrix",
        caches={"nvfp4": BLACKWELL},
    )
    takes_utilization: ClassVar[bool] = False
    mixes_accelerators: ClassVar[bool] = True

    @property
    def takes_layers(self) -> bool:
        """Some engine can be told."""
        return True

    def read(self, version: str | None) -> Version:
        """None: it stands for engines that are not named."""
        if version is None:
            return ()
        detail = (
            "No engine is named, so there is no version of it; name the engine or leave it out."
        )
        raise InvalidInput.at("/engine/version", detail)

    def loads(self, scheme: str, engines: list[str]) -> bool:
        """Any scheme some engine loads."""
        del scheme, engines
        return True

    def utilization(self, start: Start, free: int) -> float:
        """All but the reserve."""
        return min(1 - self.device_reserve, free / start.usable)

    def warnings(self) -> tuple[str, ...]:
        """Say what stands in for the engine's own needs."""
        reserve = f"{self.device_reserve:.0%}"
        sentence = (
            f"No engine named: {reserve} of each device is kept free for activations and the "
            "engine itself, and only the rules common to all engines apply."
        )
        return (sentence,)
