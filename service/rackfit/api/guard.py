"""The gate in front of everything: who asks, and whether not too often.

It is asked once a request, before any of the body is read. Probes and metrics pass by it.
"""

from http import HTTPStatus
from math import ceil

from litestar.types import HTTPScope

from rackfit.access.callers import Caller
from rackfit.access.credentials import Credentials
from rackfit.access.rates import Rates
from rackfit.api.headers import values
from rackfit.api.problems import RequestError
from rackfit.settings import Settings

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What nobody needs a key for, and no rate is counted of."""

CHALLENGE = 'Bearer realm="rackfit"'
NO_CREDENTIALS = (
    "Send `Authorization: Bearer` with an API key or a token; who runs this service gives them out."
)
TOO_OFTEN = "This caller has asked as often as it may for now."
NOT_KNOWN = "The key or token is not known here, or no longer."


class Guard:
    """Admits requests.

    Raises:
        ValueError: a file of keys cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._credentials = Credentials(settings)
        rate = settings.rate_limit_per_second
        self._rates = Rates(rate, settings.rate_limit_burst) if rate else None

    def admit(self, scope: HTTPScope) -> Caller | None:
        """Return who asks; None where nobody is asked who they are.

        Raises:
            RequestError: 401 without a credential that is known, 429 too often.
        """
        if scope["path"].rstrip("/") in OPEN_PATHS:
            return None
        caller = self._caller(scope) if self._credentials.are_asked_for else None
        if self._rates is not None:
            self._count(self._rates, caller, scope)
        return caller

    def _caller(self, scope: HTTPScope) -> Caller:
        given = values(scope, b"authorization")
        if not given:
            raise _unauthorized(NO_CREDENTIALS, CHALLENGE)
        kind, _, credential = given[0].strip().partition(" ")
        credential = credential.strip()
        if len(given) > 1 or kind.lower() != "bearer" or not credential:
            raise _unauthorized(NO_CREDENTIALS, f'{CHALLENGE}, error="invalid_request"')
        caller = self._credentials.owner(credential)
        if caller is None:
            raise _unauthorized(NOT_KNOWN, f'{CHALLENGE}, error="invalid_token"')
        return caller

    @staticmethod
    def _count(rates: Rates, caller: Caller | None, scope: HTTPScope) -> None:
        address = scope["client"]
        name = f"caller {caller.name}" if caller else f"address {address[0] if address else ''}"
        seconds = rates.wait(name)
        if seconds:
            raise RequestError.of(
                HTTPStatus.TOO_MANY_REQUESTS,
                TOO_OFTEN,
                headers={"Retry-After": str(ceil(seconds))},
            )


def _unauthorized(detail: str, challenge: str) -> RequestError:
    headers = {"WWW-Authenticate": challenge}
    return RequestError.of(HTTPStatus.UNAUTHORIZED, detail, headers=headers)
