"""The page for people: complete, safe, and without anything from anywhere else."""

import base64
import hashlib
import html
import json
import re
import shlex
from collections import Counter
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from itertools import pairwise

import httpx
import pytest

from rackfit.api.docs.markup import element, escaped, paragraphs, prose
from rackfit.api.docs.page import POLICY, page
from rackfit.api.docs.schemas import kind
from rackfit.api.documentation import contract
from rackfit.settings import Settings
from serving import running

PAGE = page(json.loads(contract()))
VOID = {"meta"}
LOADING = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "form", "base"}


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.elements[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last, which has to be this one."""
        assert tag == self.open.pop()

    def values(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def outline() -> Outline:
    """Parse the page."""
    parsed = Outline()
    parsed.feed(PAGE)
    parsed.close()
    return parsed


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process."""
    async with running(Settings(compute_processes=1)) as client:
        yield client


def test_elements_are_closed_in_order(outline: Outline) -> None:
    """Nothing that was quoted has opened an element."""
    assert [] == outline.open


def test_nothing_is_loaded_from_anywhere(outline: Outline) -> None:
    """No script, no picture, no sheet, no address of another host: links stay on the page."""
    assert not LOADING & outline.elements.keys()
    assert all(target.startswith("#") for target in outline.values("href"))
    assert not {"src", "srcset", "style", "action"} & {name for name, _ in outline.attributes}
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    style = re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)[0]
    assert not re.search(r"@import|url\(|//", style)


def test_the_policy_names_the_style_sheet() -> None:
    """Its hash, and nothing else that may be loaded."""
    style = re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert POLICY.startswith("default-src 'none'; ")


def test_links_have_targets(outline: Outline) -> None:
    """Each anchor is there once."""
    anchors = outline.values("id")
    assert len(anchors) == len(set(anchors))
    assert {target[1:] for target in outline.values("href")} <= set(anchors)


def test_every_operation_and_schema_is_shown(outline: Outline) -> None:
    """The page has all that the document has."""
    document = json.loads(contract())
    operations = {
        o["operationId"] for methods in document["paths"].values() for o in methods.values()
    }
    schemas = {f"schema-{name}" for name in document["components"]["schemas"]}
    assert operations | schemas <= set(outline.values("id"))


@pytest.mark.anyio
async def test_the_service_sends_the_page_with_its_policy(client: httpx.AsyncClient) -> None:
    """As HTML, under the policy, HEAD as well."""
    response = await client.get("/docs")
    assert ("text/html; charset=utf-8", PAGE) == (response.headers["content-type"], response.text)
    assert POLICY == response.headers["content-security-policy"]
    assert POLICY == (await client.head("/docs")).headers["content-security-policy"]


def commands() -> list[tuple[str, str]]:
    """Return every `curl` line of the page with what it is shown to print."""
    blocks = re.findall(r'<pre class="command">(curl.*?)</pre><pre>(.*?)</pre>', PAGE, re.DOTALL)
    return [(html.unescape(line), html.unescape(printed)) for line, printed in blocks]


@pytest.mark.anyio
async def test_the_lines_print_what_is_shown(client: httpx.AsyncClient) -> None:
    """Each line, read as a shell reads it, gets the text below it; of health, the first word."""
    lines = commands()
    assert len(lines) > 15
    for line, printed in lines:
        text = await _text_of(client, line)
        varies = any(path in line for path in ("/health/ready", "/v1/version", "/metrics", "/docs"))
        assert printed == text or (varies and printed.split()[0] == text.split()[0]), line


async def _text_of(client: httpx.AsyncClient, line: str) -> str:
    """Send what a `curl` line would send."""
    words = shlex.split(line)
    headers = dict(w.split(": ", 1) for given, w in pairwise(words) if given == "-H")
    body = next((w for given, w in pairwise(words) if given == "--data-binary"), None)
    url = words[2].replace("$RACKFIT", "http://rackfit.test")
    response = await client.request(
        "POST" if body is not None else "GET", url, headers=headers, content=body
    )
    assert 200 == response.status_code
    return response.text


def test_text_is_escaped() -> None:
    """What a description quotes is shown, never obeyed."""
    assert "<p>&lt;b&gt; &amp; <code>&lt;i&gt;</code></p>" == element("p", prose("<b> & `<i>`"))
    assert "&quot;" == escaped('"')
    assert '<a href="&quot;&gt;">x</a>' == element("a", escaped("x"), href='">')


def test_lists_are_lists() -> None:
    """Lines that begin with a dash are items."""
    assert "<p>a</p><ul><li>b</li><li>c</li></ul>" == paragraphs("a\n\n- b\n- c\n")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"$ref": "#/components/schemas/Split"}, '<a href="#schema-Split">Split</a>'),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"enum": ["a"]}, "<code>&quot;a&quot;</code>"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "map of number"),
        ({"type": "object", "additionalProperties": False}, "object"),
        ({}, "any JSON"),
    ],
)
def test_types_are_said_in_words(schema: dict[str, object], words: str) -> None:
    """With a link to what has a name."""
    assert words == kind(schema)
