"""Signed tokens (JWT, RFC 7519) of an identity provider whose public keys are in a file.

Only asymmetric signatures are taken, each by the algorithm of the key that its header names: what
a token says of its algorithm decides nothing.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from rackfit.access.callers import Caller, read_scopes

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
LEEWAY_SECONDS = 30
"""Clocks may differ by as much."""

DATES: Final = frozenset({"exp", "nbf", "iat"})

MAX_LENGTH = 8192
MAX_REMEMBERED = 4096
MAX_NAME = 200

PublicKeys = Mapping[str, jwt.PyJWK]
"""Keys by their `kid`; `""` is that of the only one, which needs none."""


def read_key_set(content: bytes) -> PublicKeys:
    """Read a JSON Web Key Set (RFC 7517).

    Raises:
        ValueError: a sentence, for a set without any usable key or with a secret one.
    """
    try:
        found = jwt.PyJWKSet.from_json(content.decode()).keys
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = "it must be a JSON Web Key Set with at least one public key"
        raise ValueError(msg) from error
    for key in found:
        if key.algorithm_name not in ALGORITHMS:
            msg = f"keys must be of {', '.join(sorted(ALGORITHMS))}"
            raise ValueError(msg)
    named = {key.key_id or "": key for key in found}
    if len(named) != len(found) or ("" in named and len(named) > 1):
        msg = "keys need different `kid`s, unless there is only one"
        raise ValueError(msg)
    return named


class Verifier:
    """Says whose a token is; what was verified once is believed until it expires.

    Args:
        issuer: who must have issued it, None for anybody whose key is in the set.
        audience: whom it must be meant for.
        clock: seconds since the epoch.
    """

    def __init__(
        self, issuer: str | None, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._keys: PublicKeys = {}
        self._known: dict[str, tuple[Caller, float]] = {}

    def owner(self, token: str, keys: PublicKeys) -> Caller | None:
        """Return whose a token is; None where it is not to be believed."""
        if keys is not self._keys:
            self._keys, self._known = keys, {}
        known = self._known.get(token)
        if known is not None and self._clock() < known[1]:
            return known[0]
        self._known.pop(token, None)
        claims = self._claims(token, keys)
        if claims is None:
            return None
        caller = Caller(_name(claims), read_scopes(_scopes(claims)))
        if len(self._known) >= MAX_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[token] = caller, float(claims["exp"])
        return caller

    def _claims(self, token: str, keys: PublicKeys) -> dict[str, Any] | None:
        if len(token) > MAX_LENGTH:
            return None
        try:
            key = keys.get(jwt.get_unverified_header(token).get("kid") or "")
            if key is None and len(keys) == 1:
                key = keys.get("")
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return claims if all(_is_date(claims[name]) for name in DATES & claims.keys()) else None


def _is_date(claim: object) -> bool:
    """Tell whether a claim is a NumericDate (RFC 7519, 2), which PyJWT takes as text as well."""
    return isinstance(claim, int | float) and not isinstance(claim, bool)


def _name(claims: Mapping[str, Any]) -> str:
    return str(claims["sub"])[:MAX_NAME]


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """Return the words of `scope` (RFC 8693) or the list of `scp`, as some providers have it."""
    said = claims.get("scope", claims.get("scp", ""))
    words = said.split() if isinstance(said, str) else said
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
