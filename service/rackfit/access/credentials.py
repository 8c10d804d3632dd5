"""What callers show of themselves: a key of the file of keys, or a token a known key signed."""

from collections.abc import Callable

from rackfit.access.callers import Caller
from rackfit.access.keys import PREFIX, Keys, owner, read_keys
from rackfit.access.watched import Watched
from rackfit.settings import Settings

Check = Callable[[str], Caller | None]
"""Says whose a credential is, None where it is not to be believed."""


class Credentials:
    """Keys and tokens, as the settings have them.

    Raises:
        ValueError: a file of keys cannot be used; a sentence that names it.
    """

    def __init__(self, settings: Settings) -> None:
        self._by_key = _key_check(settings)
        self._by_token = _token_check(settings)

    @property
    def are_asked_for(self) -> bool:
        """Whether anybody has to show one."""
        return self._by_key is not None or self._by_token is not None

    def owner(self, credential: str) -> Caller | None:
        """Return whose a credential is; None where it is not known, or no longer."""
        check = self._by_key if credential.startswith(PREFIX) else self._by_token
        return None if check is None else check(credential)


def _key_check(settings: Settings) -> Check | None:
    if settings.api_keys_file is None:
        return None
    kept: Watched[Keys] = Watched(settings.api_keys_file, read_keys)
    return lambda key: owner(kept.value, key)


def _token_check(settings: Settings) -> Check | None:
    if settings.jwks_file is None or settings.jwt_audience is None:
        return None
    # Only who verifies tokens pays for a library of cryptography.
    from rackfit.access.tokens import PublicKeys, Verifier, read_key_set  # noqa: PLC0415

    kept: Watched[PublicKeys] = Watched(settings.jwks_file, read_key_set)
    verifier = Verifier(settings.jwt_issuer, settings.jwt_audience)
    return lambda token: verifier.owner(token, kept.value)
