"""What accelerators cost an hour, as the caller says."""

from collections.abc import Mapping

from rackfit.catalog import Catalog
from rackfit.errors import InvalidInput, Violation, escaped
from rackfit.planning.question import MAX_PRICE


def read_prices(prices: Mapping[str, float], catalog: Catalog) -> dict[str, float]:
    """Prices by accelerator id.

    Raises:
        InvalidInput: with a pointer to every price out of bounds, else to an unknown name or to
            a second price of the same accelerator.
    """
    wrong = [
        Violation(f"/prices/{escaped(name)}", f"A price is above 0 and at most {MAX_PRICE:,.0f}.")
        for name, price in prices.items()
        if not 0 < price <= MAX_PRICE
    ]
    if wrong:
        raise InvalidInput(*wrong)
    read: dict[str, float] = {}
    for name, price in prices.items():
        pointer = f"/prices/{escaped(name)}"
        part = catalog.accelerator(name, pointer)[0].id
        if part in read:
            raise InvalidInput.at(pointer, f"There is another price of {part} already.")
        read[part] = price
    return read
