"""Signed tokens: whose they are, and the many that are nobody's."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from rackfit.access.callers import Caller
from rackfit.access.tokens import Verifier, read_key_set

Json = dict[str, Any]
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
AUDIENCE, ISSUER = "rackfit", "https://login.example"


def public(kid: str, alg: str, key: Any) -> Json:  # noqa: ANN401 - of any kind
    """Return a public key as a set holds it."""
    spelled: Callable[..., Any] = {
        "RS256": RSAAlgorithm.to_jwk,
        "ES256": ECAlgorithm.to_jwk,
        "EdDSA": OKPAlgorithm.to_jwk,
    }[alg]
    return {**json.loads(spelled(key.public_key())), "kid": kid, "alg": alg, "use": "sig"}


SET = read_key_set(
    json.dumps(
        {
            "keys": [
                public("r", "RS256", RSA),
                public("e", "ES256", CURVE),
                public("o", "EdDSA", EDWARDS),
            ]
        }
    ).encode()
)


def token(key: Any = RSA, alg: str = "RS256", kid: str | None = "r", **claims: object) -> str:  # noqa: ANN401
    """Sign a token; a claim of None is left out."""
    now = int(time.time())
    said = {"sub": "ann", "aud": AUDIENCE, "iss": ISSUER, "exp": now + 60, "scope": "plan openid"}
    said |= claims
    body = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(body, key, algorithm=alg, headers={"kid": kid} if kid else None)


def owner(shown: str, issuer: str | None = ISSUER) -> Caller | None:
    """Say whose a token is."""
    return Verifier(issuer, AUDIENCE).owner(shown, SET)


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA, "RS256", "r"), (CURVE, "ES256", "e"), (EDWARDS, "EdDSA", "o")]
)
def test_a_token_is_its_subjects_with_its_scopes(key: Any, alg: str, kid: str) -> None:  # noqa: ANN401
    """Scopes that mean nothing here are passed over."""
    assert owner(token(key, alg, kid)) == Caller("ann", frozenset({"read", "plan"}))


def test_scopes_may_be_a_list() -> None:
    """As some providers have them."""
    shown = token(scope=None, scp=["read", 7])
    assert owner(shown) == Caller("ann", frozenset({"read"}))


def unsigned() -> str:
    """Return a token that says it needs no signature."""
    return jwt.encode({"sub": "ann", "aud": AUDIENCE, "exp": 2**40}, "", algorithm="none")


def confused() -> str:
    """Return a token signed by the public key's own text, as if that were a secret."""
    secret = json.dumps(public("r", "RS256", RSA))
    header, body = {"alg": "HS256", "kid": "r"}, {"sub": "ann", "aud": AUDIENCE, "exp": 2**40}
    signed = ".".join(_spelled(json.dumps(part).encode()) for part in (header, body))
    return f"{signed}.{_spelled(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def _spelled(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


NOBODYS: dict[str, Callable[[], str]] = {
    "signed by another": lambda: token(OTHER),
    "by a key not in the set": lambda: token(kid="x"),
    "no key named of several": lambda: token(kid=None),
    "by the key of another algorithm": lambda: token(CURVE, "ES256", "r"),
    "by a stronger digest than the key's": lambda: token(RSA, "RS512", "r"),
    "expired": lambda: token(exp=int(time.time()) - 3600),
    "never expiring": lambda: token(exp=None),
    "expiring in words": lambda: token(exp="99999999999"),
    "expiring in truth": lambda: token(exp=True),
    "beginning in words": lambda: token(nbf="1"),
    "issued in words": lambda: token(iat="1"),
    "not yet": lambda: token(nbf=int(time.time()) + 3600),
    "for another": lambda: token(aud="billing"),
    "for nobody": lambda: token(aud=None),
    "of another issuer": lambda: token(iss="https://evil.example"),
    "of nobody": lambda: token(sub=None),
    "unsigned": unsigned,
    "signed by a public key": confused,
    "cut": lambda: token()[:-4],
    "no token": lambda: "a.b.c",
    "empty": lambda: "",
    "endless": lambda: "a" * 10_000 + ".b.c",
    "not ascii": lambda: "\N{SNOWMAN}.b.c",
}


@pytest.mark.parametrize("case", NOBODYS)
def test_a_token_not_to_be_believed_is_nobodys(case: str) -> None:
    """Whatever is wrong with it."""
    assert owner(NOBODYS[case]()) is None


def test_any_issuer_will_do_where_none_is_set() -> None:
    """The keys alone decide then."""
    assert owner(token(iss="https://other.example"), issuer=None) is not None


def test_what_was_verified_is_believed_until_it_expires_and_no_longer() -> None:
    """Nor once the key is gone from the set."""
    now = [time.time()]
    verifier = Verifier(ISSUER, AUDIENCE, lambda: now[0])
    shown = token(exp=int(now[0]) - 5)  # within the leeway for clocks
    assert verifier.owner(shown, SET) is not None
    lasting = token()
    assert verifier.owner(lasting, SET) is verifier.owner(lasting, SET)
    assert verifier.owner(lasting, {"e": SET["e"], "o": SET["o"]}) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSON Web Key Set"),
        (b"{}", "JSON Web Key Set"),
        (b'{"keys": []}', "JSON Web Key Set"),
        (b'{"keys": [7]}', "JSON Web Key Set"),
        (b"\xff", "JSON Web Key Set"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}).encode(), "of ES"),
        (json.dumps({"keys": [public("a", "RS256", RSA)] * 2}).encode(), "different `kid`s"),
    ],
)
def test_a_set_that_cannot_be_used_is_told(content: bytes, said: str) -> None:
    """A secret key above all: who can verify with it can sign."""
    with pytest.raises(ValueError, match=said):
        read_key_set(content)


def test_the_only_key_of_a_set_needs_no_name() -> None:
    """Neither in the set nor in the token."""
    key = {k: v for k, v in public("", "RS256", RSA).items() if k != "kid"}
    keys = read_key_set(json.dumps({"keys": [key]}).encode())
    assert Verifier(None, AUDIENCE).owner(token(kid=None), keys) is not None
