"""What the layers of one pipeline stage keep of sequences on one rank, as an engine lays it out."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from rackfit.engines.cache_layout import CacheTerm, bytes_per_token, sequence_bytes
from rackfit.lazy import cached_property


class StageCache(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One stage's cache: its terms and, where the engine cuts it into alike blocks, the blocks.

    A block of `block_bytes` belongs to one of `groups` groups of layers and holds at least
    `block_tokens` tokens; 0 bytes where layers have caches of their own. `by_request` tells that
    the engine's log counts the tokens of as many requests as fit, not those of a block. Of a
    sequence one of `parts` ranks holds every so many tokens. Where states have a pool of their own,
    `states` are a sequence's bytes there and `state_share` the part of all room that it has; the
    terms are those of the other.
    """

    terms: tuple[CacheTerm, ...]
    block_tokens: int = 1
    block_bytes: int = 0
    groups: int = 1
    by_request: bool = False
    parts: int = 1
    states: int = 0
    state_share: Fraction = Fraction(0)

    def sequence_bytes(self, tokens: int) -> int:
        """Bytes of one sequence of `tokens` tokens; of two pools, what both must have for it."""
        rows = sequence_bytes(self.terms, -(-tokens // self.parts))
        if not self.states:
            return rows
        share = self.state_share
        of_rows = -(-rows * share.denominator // (share.denominator - share.numerator))
        return max(of_rows, -(-self.states * share.denominator // share.numerator))

    @cached_property
    def bytes_per_token(self) -> Fraction:
        """Marginal bytes of one more token, beyond every window."""
        each = bytes_per_token(self.terms)
        return each if self.parts == 1 else each / self.parts

    @cached_property
    def whole_bytes_per_token(self) -> int:
        """The same in whole bytes."""
        return int(self.bytes_per_token)

    def tokens(self, room: int, context: int) -> int | None:
        """Tokens that `room` bytes hold as the engine's log counts them; None without bound.

        `context` is the length of a request.
        """
        room -= -(-room * self.state_share.numerator // self.state_share.denominator)
        if self.by_request and self.block_bytes:
            blocks = room // self.block_bytes
            return blocks * self.block_bytes * context // self.sequence_bytes(context)
        if self.block_bytes:
            return room // self.block_bytes // self.groups * self.block_tokens * self.parts
        each = self.bytes_per_token
        if not each:
            return None
        block = self.block_tokens * self.parts
        return int(room / each) // block * block


def fewest_tokens(caches: Sequence[tuple[StageCache, int]], context: int) -> int:
    """Tokens of the stage that holds fewest, given each stage's room; 0 where none grows."""
    counts = [cache.tokens(room, context) for cache, room in caches]
    return min((count for count in counts if count is not None), default=0)
