"""How long a run takes."""

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """How many rounds, and for how many seconds each measure is loaded in one.

    Many short rounds rather than a few long ones: what is compared is then taken moments
    apart.
    """

    rounds: int
    seconds: float


DEFAULT = Pace(rounds=8, seconds=0.6)
QUICK = Pace(rounds=2, seconds=0.2)
