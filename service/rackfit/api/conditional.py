"""Conditional requests: has the caller got this answer already (RFC 9110 section 13.1.2)?"""

import re

# Nothing is given back once it is taken: else a header of blanks costs their number squared.
_ITEM = re.compile(r'[ \t]*+(?:(?:W/)?("[\x21\x23-\x7e\x80-\xff]*+"))?+[ \t]*+(?:,|\Z)')


def is_current(if_none_match: str, etag: str) -> bool:
    """Tell whether an If-None-Match header names `etag`, by weak comparison.

    Args:
        if_none_match: A list of entity tags, `*`, or `""` where there is none; what is neither
            names nothing.
        etag: The strong entity tag of the answer.
    """
    if if_none_match.strip(" \t") == "*":
        return True
    named = set()
    at = 0
    while at < len(if_none_match):
        item = _ITEM.match(if_none_match, at)
        if item is None:
            return False
        named.add(item[1])
        at = item.end()
    return etag in named
