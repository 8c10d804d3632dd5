"""Bodies of requests that offer another protocol, which nobody takes up.

The parser takes what follows such a head for the other protocol and stops. Java's HTTP client
offers HTTP/2 with its first request, whatever the method: the body is read by a parser of its own.
"""

from collections.abc import Sequence
from typing import Protocol

import httptools

FRAMING = (b"content-length", b"transfer-encoding")


class Receiver(Protocol):
    """Who the body is for."""

    def on_body(self, body: bytes) -> None:
        """Take a part of it."""

    def on_message_complete(self) -> None:
        """Take note of its end."""


class DeclinedBody:
    """The body behind a head that was read; what comes behind the body is dropped.

    Attributes:
        parser: to be fed with what follows the head.
    """

    def __init__(self, receiver: Receiver, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._receiver: Receiver | None = None
        self.parser = httptools.HttpRequestParser(self)
        framing = [b"%b: %b\r\n" % header for header in headers if header[0] in FRAMING]
        self.parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *framing, b"\r\n")))
        self._receiver = receiver

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        if self._receiver is not None:
            self._receiver.on_body(body)

    def on_message_complete(self) -> None:
        """Pass on that this was all of it."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_message_complete()
