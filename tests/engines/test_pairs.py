"""Rules about prefill and decode splits together."""

import pytest

from rackfit.engines.sglang.engine import Sglang
from rackfit.engines.split import Split
from rackfit.engines.vllm.engine import Vllm


@pytest.mark.parametrize(
    ("engine", "prefill", "decode", "broken"),
    [
        (Sglang, Split(pipeline=4), Split(pipeline=3), True),
        (Sglang, Split(pipeline=4), Split(pipeline=4), False),
        (Sglang, Split(pipeline=4), Split(), False),
        (Sglang, Split(), Split(pipeline=4), True),
        (Sglang, Split(context=4), Split(tensor=4, decode_context=4), True),
        (Sglang, Split(tensor=4), Split(tensor=4, decode_context=4), False),
        (Vllm, Split(pipeline=2), Split(), True),
        (Vllm, Split(), Split(pipeline=2), True),
        (Vllm, Split(tensor=4), Split(tensor=2), False),
    ],
)
def test_pairs_are_those_that_the_engine_hands_on_between(
    engine: type[Sglang | Vllm], prefill: Split, decode: Split, *, broken: bool
) -> None:
    """Stages as each engine pairs them, each refusal with its source."""
    found = list(engine(None, 0.1).pair_broken(prefill, decode))
    assert broken == bool(found)
    assert all(rejection.source for rejection in found)
