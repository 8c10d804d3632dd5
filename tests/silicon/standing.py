"""What stands in for the package of measured kernels: times that can be told apart."""

from rackfit.catalog import load_catalog
from rackfit.errors import NotCovered
from rackfit.silicon.package import Pairing

CATALOG = load_catalog()
MODEL = "Qwen/Qwen3-32B"
CONFIG = CATALOG.models[MODEL].config


class Stopwatch:
    """Times that can be told apart: a thousandth of a second for each tensor rank and token.

    Prompts and steps alone may take so many times longer.
    """

    def __init__(self, pairing: Pairing, reading: float = 1.0, writing: float = 1.0) -> None:
        self.pairing = pairing
        self.reading = reading
        self.writing = writing
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def predict_decode_latency(self, bs: int, isl: int, osl: int = 2) -> float:
        """A step."""
        self.asked.append(("decode", (bs, isl, osl)))
        return self.writing * (bs + self.pairing.tensor)

    def predict_prefill_latency(self, bs: int, isl: int, prefix: int = 0) -> float:
        """A prompt."""
        self.asked.append(("prefill", (bs, isl, prefix)))
        return self.reading * (100 * bs + (isl - prefix) / 1000 + prefix / 10_000)

    def mixed_step_latency(
        self, ctx_tokens: int, gen_tokens: int, isl: int, osl: int, prefix: int = 0
    ) -> float:
        """Both in one pass: more tensor ranks take longer, so that another order shows."""
        self.asked.append(("mixed", (ctx_tokens, gen_tokens, isl, osl, prefix)))
        return 10.0 * self.pairing.tensor * self.pairing.pipeline


class Stand:
    """What stands in for the package."""

    def __init__(self) -> None:
        self.watches: list[Stopwatch] = []
        self.refused: set[int] = set()
        self.reading = self.writing = 1.0

    def compiled(self, pairing: Pairing) -> Stopwatch:
        """Compile, or not."""
        if pairing.tensor in self.refused:
            raise NotCovered
        self.watches.append(Stopwatch(pairing, self.reading, self.writing))
        return self.watches[-1]
