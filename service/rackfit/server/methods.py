"""The method of a request that the parser stopped at: it reads those alone that it has a name for.

That a method is unknown is another thing than no HTTP (RFC 9110, 9.1), and who asks wants to know.
"""

import re

import httptools

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(?<!%b)(%b{1,40}) [^ \r\n]+ HTTP/1\.[01]\r\n" % (_TOKEN, _TOKEN))
"""Its method is a token (RFC 9110, 5.6.2); a longer one is not worth repeating. It may follow a
body, which need not end a line.
"""


def unknown_method(piece: bytes) -> str | None:
    """Return the first method in what has come that the parser does not read.

    Requests before it may have come in the same piece.
    """
    methods = dict.fromkeys(line[1] for line in _REQUEST_LINE.finditer(piece))
    return next((method.decode("ascii") for method in methods if not _is_read(method)), None)


def _is_read(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(object()).feed_data(method + b" / HTTP/1.1\r\n")
    except httptools.HttpParserError:
        return False
    return True
