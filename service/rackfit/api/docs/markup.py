"""HTML from text: whatever is text is escaped, once."""

import html
import re
from collections.abc import Iterable
from typing import NewType

Html = NewType("Html", str)
"""Text that is HTML already; nothing else goes between tags."""

_CODE = re.compile(r"`([^`]+)`")


def escaped(text: str) -> Html:
    """Show text as it is."""
    return Html(html.escape(text))


def element(name: str, *inside: Html, **attributes: str) -> Html:
    """Make an element; `class` and `for` are spelled with an underscore at the end."""
    given = (f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{''.join(given)}>{''.join(inside)}</{name}>")


def prose(text: str) -> Html:
    """Show a description: `` `code` `` is code."""
    return Html(_CODE.sub(r"<code>\1</code>", html.escape(text, quote=False)))


def paragraphs(text: str) -> Html:
    """Show paragraphs and lists (`- `) of a description."""
    return joined(_block(block) for block in text.strip().split("\n\n"))


def _block(block: str) -> Html:
    if not block.startswith("- "):
        return element("p", prose(block))
    items = block.removeprefix("- ").split("\n- ")
    return element("ul", *(element("li", prose(item)) for item in items))


def joined(parts: Iterable[Html], between: str = "") -> Html:
    """Join pieces of HTML; `between` is text."""
    return Html(escaped(between).join(parts))


def code(text: str) -> Html:
    """Show something to be typed or returned, in a line."""
    return element("code", escaped(text))


def block(text: str) -> Html:
    """Show something that is returned, as it is."""
    return element("pre", escaped(text))


def command(text: str) -> Html:
    """Show something to be typed; long lines are shown on several."""
    return element("pre", escaped(text), class_="command")


def link(anchor: str, inside: Html) -> Html:
    """Link to an anchor of this page."""
    return element("a", inside, href=f"#{anchor}")


def table(headers: Iterable[str], rows: Iterable[Iterable[Html]]) -> Html:
    """Lay out rows under headers."""
    head = element("tr", *(element("th", escaped(title), scope="col") for title in headers))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("table", element("thead", head), element("tbody", *body))
