"""Conditional requests: has the caller got this answer already (RFC 9110 section 13.1.2)?"""

import re

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def is_current(if_none_match: str, etag: str) -> bool:
    """Tell whether an If-None-Match header names `etag`, by weak comparison.

    Args:
        if_none_match: A list of entity tags, `*`, or `""` where there is none.
        etag: The strong entity tag of the answer.
    """
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)
