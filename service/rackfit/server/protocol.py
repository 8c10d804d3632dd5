"""HTTP within bounds, and answers that take no application: sent as soon as a request is here.

A request that comes again in the same bytes is answered without being parsed (see `repeats`).
"""

from typing import Any, Protocol, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from rackfit.server.bounds import BoundedProtocol
from rackfit.server.repeats import MAX_REQUEST_BYTES, Repeats
from rackfit.wire import AT_ONCE, REFUSAL, AtOnce, Sent


class RepeatingConfig(Protocol):
    """Beside uvicorn's own configuration: what requests that come again are answered with."""

    repeats: Repeats


class HttpProtocol(BoundedProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(*arguments, **named)
        self._repeats = cast("RepeatingConfig", self.config).repeats
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._is_reading = False
        self._in_message = False
        self._messages = 0
        self._answered: tuple[dict[str, Any], bytes] | None = None

    @property
    def _at_once(self) -> AtOnce | None:
        return cast("AtOnce | None", self.app_state.get(AT_ONCE))

    @property
    def _is_between(self) -> bool:
        """Whether what comes next begins a request, and nothing is under way."""
        return not self._in_message and self._timer is None and self.is_idle and not self._is_deaf

    def data_received(self, data: bytes) -> None:
        """Read what has come; answer what came before in the same bytes."""
        if not self._is_between:
            self._read(data)
        elif not self._answer_again(data):
            self._read(data)
            if self._messages == 1 and self._answered and self._is_between:
                self._remember(data, *self._answered)

    def _read(self, data: bytes) -> None:
        self._messages, self._answered = 0, None
        self._is_reading = True
        super().data_received(data)
        self._is_reading = False
        self._start_held()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_message = True
        self._messages += 1

    def on_message_complete(self) -> None:
        """Answer a request that is here as a whole at once, if that takes no application."""
        self._in_message = self._declines
        super().on_message_complete()
        if self._in_message:
            return  # its body follows
        is_held = self._held is not None and self._held[0] is self.cycle
        if is_held and (answer := self._answer_at_once(self.cycle)):
            self._held = None
            self._send_at_once(self.cycle, answer)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start the application on a request, after what has come with its head is read."""
        if self._is_reading and self._held is None:
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _start_held(self) -> None:
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            super()._start_asgi_task(cycle, app)

    def _answer_at_once(self, cycle: RequestResponseCycle) -> Sent | None:
        at_once, scope = self._at_once, cast("dict[str, Any]", cycle.scope)
        if at_once is None or self.flow.write_paused or REFUSAL in scope.get("extensions", {}):
            return None
        body = bytes(cycle.body)
        answer = at_once.answer(scope, body)
        if answer and cycle.keep_alive:
            self._answered = scope, body
        return answer

    def _send_at_once(self, cycle: RequestResponseCycle, answer: Sent) -> None:
        """Send an answer as a cycle of uvicorn's would."""
        self._send(answer, keep_alive=cycle.keep_alive)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _send(self, answer: Sent, *, keep_alive: bool) -> None:
        lines = [STATUS_LINE[answer.status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(answer.head)
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((*lines, b"\r\n", answer.content)))

    # Requests that come again

    def _answer_again(self, data: bytes) -> bool:
        """Answer a request that has come before in the same bytes; tell whether that was done."""
        again = self._repeats.find(data)
        if again is None or self.flow.write_paused or self.transport.is_closing():
            return False
        answer = again(self.client)
        if answer is None:
            return False
        self._send(answer, keep_alive=True)
        self.server_state.total_requests += 1
        self.idle_since = self.loop.time()
        return True

    def _remember(self, data: bytes, scope: dict[str, Any], body: bytes) -> None:
        """Remember what answers a request, if it has come before."""
        if len(data) > MAX_REQUEST_BYTES or self._repeats.is_new(data) or self._at_once is None:
            return
        again = self._at_once.again(scope, body)
        if again is not None:
            self._repeats.keep(data, again)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection idle for long; an answer given again does not set the timer anew."""
        left = self.idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            handler = self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(left, handler)
        else:
            super().timeout_keep_alive_handler()
