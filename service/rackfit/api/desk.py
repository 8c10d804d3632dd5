"""Where every request is taken up: noted, and let in or not."""

from litestar.types import HTTPScope

from rackfit.api.closing import Closing
from rackfit.api.exchange import begin, begun, exchange_of
from rackfit.api.guard import Guard
from rackfit.api.problems import RequestError
from rackfit.api.record import Record, fresh_id, given_id
from rackfit.api.sharing import Sharing
from rackfit.api.tracing import trace_of


class Desk:
    """Takes requests up, whichever way they are answered."""

    def __init__(self, guard: Guard, sharing: Sharing, closing: Closing) -> None:
        self.guard = guard
        self.closing = closing
        self._sharing = sharing

    def begin(self, scope: HTTPScope) -> Record:
        """Begin an exchange, if that has not been done."""
        exchange = (
            exchange_of(scope) if begun(scope) else begin(scope, given_id(scope) or fresh_id())
        )
        exchange.trace = trace_of(scope)
        return Record(exchange, self.closing, self._sharing.headers(scope))

    def admits(self, scope: HTTPScope) -> bool:
        """Ask the gate; what it says is kept for whoever answers."""
        exchange = exchange_of(scope)
        try:
            exchange.caller = self.guard.admit(scope)
        except RequestError as error:
            exchange.refused = error
        exchange.admitted = exchange.refused is None
        return exchange.admitted
