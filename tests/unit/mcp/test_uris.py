"""A URI of a resource has one spelling: whatever a reader could change on the way is refused."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, ValidationError

from openmcp.errors import InvalidParams
from openmcp.mcp import message as messages
from openmcp.mcp import methods, uris
from openmcp.mcp.message import JsonObject

AMBIGUOUS = [
    # dot segments, in every disguise
    *("file:///public/../secret/x", "file:///public/./x", "file:///public/..", "doc://public/../secret", "doc://../x"),
    *("doc://..", "doc:/a/../b", "urn:..", "file:///public/%2e%2e/secret", "file:///public/%2E%2E/secret"),
    *("file:///public/.%2e/secret", "file:///public/%252e%252e/secret", "file:///public/%25252e./x"),
    *("doc://public/..%2fsecret", "doc://public/..%2Fsecret", "doc://a%2F..%2F..%2Fsecret", "doc://public/..%5Csecret"),
    *("doc://public/a%2F.", "doc://public/%2E/x"),
    # what is stripped, folded or turned round
    *("file:///public/\\..\\secret", "file:\\\\\\secret", "file:///sec\tret", "file:///sec\nret", " file:///secret"),
    *("file:///secret ", "file:///sec\u2028ret", "file:///sec\u00a0ret", "file:///\x00secret", "doc://a\x7f"),
    *("FILE:///secret", "File:///secret", "https://Secret/x", "http://EXAMPLE.com/", "wss://Host/x"),
    # percent-encoding
    *(
        "file:///%73ecret",
        "doc://secret/%41",
        "doc://%73ecret",
        "doc://a/%7E",
        "doc://a/%2573",
        "doc://a/%zz",
        "doc://a/%",
    ),
    *(
        "doc://a/%c3%a9",
        "doc://a/é",
        "doc://é",
        "doc://a/{b}",
        'doc://a/"',
        "doc://a/<b>",
        "doc://a/b|c^`",
        "doc://a/%00",
    ),
    *("doc://a/b%0Ac",),
    # the authority
    *(
        "doc://h:/x",
        "doc://h:080/x",
        "doc://@h/x",
        "doc://:@h/x",
        "doc://u:@h/x",
        "doc://[::0:1]/x",
        "doc://[::1.2.3.4]/",
    ),
    *("http://h:80/x", "https://h:443/x", "ws://h:80/", "ftp://h:21/", "http://u@h/x", "http://u:p@h/x", "http://h./x"),
    *("http://%68/x", "http://a%20b/", "http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://127.0.0.01/"),
    *("http://xn--example-.org/", "http://xn--/"),
    # the schemes that every reader completes
    *("http:h/x", "http:/h/x", "http:///h/x", "http://h", "http://h?q", "https:x", "ws://h", "http://h/?'"),
    *(
        "file:/secret",
        "file:secret",
        "file://",
        "file://localhost/secret",
        "file://c:/x",
        "file:////secret",
        "file:///a//b",
    ),
    *("file:///a%2Fb", "file:///a%5Cb", "file:///secret?", "file:///secret?x", "file:///secret#x", "file:///secret#"),
    "doc://" + "a" * uris.MAX_CHARS,
]

PLAIN = [
    *("ticket://T-1", "ticket://T-1/Text", "doc://user@Host/x"),
    *(
        "file:///public/a.txt",
        "file:///a/.hidden",
        "file:///a/...",
        "file:///a/..b",
        "file:///a/b..",
        "file:///",
        "file:///a/",
    ),
    *(
        "file://host/share/a",
        "file:///a%20b/c",
        "file:///caf%C3%A9",
        "file:///A/B",
        "x",
        "T-1",
        "urn:isbn:1",
        "urn:a:B%20c",
    ),
    *("doc://open", "test://static-text", "test://template/1/data", "ticket://t/T-1?page=2#top", "doc://"),
    *("doc:///a", "doc:////a", "doc://a//b", "doc://a/b%2Fc", "doc://a/b%3Ac", "doc://a/?x=../y", "doc://john%C3%A9/x"),
    *(
        "postgres://reader@db:5432/orders/schema",
        "http://h/",
        "http://h:8080/a;b=c?d=e&f=[g]#h",
        "https://xn--caf-dma.fr/x",
    ),
    *(
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://[::1]:8080/x",
        "doc://[::1]/",
        "https://a.b-c.example/~me/x,y(z)!",
    ),
]


@pytest.mark.parametrize("uri", AMBIGUOUS)
def test_a_uri_that_can_be_read_in_two_ways_is_refused(uri: str) -> None:
    assert uris.fault(uri)


@pytest.mark.parametrize("uri", PLAIN)
def test_a_uri_with_one_reading_passes(uri: str) -> None:
    assert uris.fault(uri) == ""


@pytest.mark.parametrize(
    "template", ["x://{a}", "x://{userId}/y", "file:///{+path}", "x://a{/b}{?c,d*}{#e}", "x://a/{b:3}", "x://open"]
)
def test_a_template_may_hold_expressions(template: str) -> None:
    assert uris.template_fault(template) == ""


@pytest.mark.parametrize(
    "template", ["x://{a}/../b", "X://{a}", "file:///public/%2e%2e/{a}", "x://{a\n}", "x://{}", "x://{{a}}"]
)
def test_what_stands_around_the_expressions_of_a_template_has_one_reading(template: str) -> None:
    assert uris.template_fault(template)


ACCESSES: list[tuple[str, JsonObject]] = [
    (methods.RESOURCES_READ, {"uri": "file:///public/../secret"}),
    (methods.RESOURCES_SUBSCRIBE, {"uri": "file:///public/../secret"}),
    (methods.RESOURCES_UNSUBSCRIBE, {"uri": "file:///public/../secret"}),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": "ref/resource", "uri": "file:///public/../{secret}"}}),
    (methods.SUBSCRIPTIONS_LISTEN, {"notifications": {"resourceSubscriptions": ["x://a", "file:///public/../secret"]}}),
]


@pytest.mark.parametrize(("method", "params"), ACCESSES)
def test_every_access_to_a_resource_is_refused_under_such_a_uri(method: str, params: JsonObject) -> None:
    with pytest.raises(InvalidParams) as refused:
        methods.subjects(messages.request(1, method, params))
    assert refused.value.text != InvalidParams.sentence


PIECES = st.sampled_from(
    [
        *(
            "file",
            "http",
            "https",
            "ws",
            "ftp",
            "doc",
            "HTTP",
            ":",
            "//",
            "/",
            "///",
            ":/",
            "://",
            "\\",
            ".",
            "..",
            "...",
            "a",
        ),
        *(
            "A",
            "b1",
            "127",
            "0x1",
            "1",
            "%2e",
            "%2E",
            "%2f",
            "%2F",
            "%5C",
            "%41",
            "%C3%A9",
            "%c3",
            "%25",
            "%00",
            "%",
            "é",
        ),
        *(
            " ",
            "\t",
            "\n",
            "?",
            "#",
            "@",
            ":80",
            ":443",
            ":0",
            "[::1]",
            "[::0]",
            "localhost",
            "c:",
            "c|",
            "xn--",
            "-",
            "'",
        ),
        *("{", "}", "~", "_", "+", ";", "=", "&", "u:@", "\u3002", "ﬀ", "\u00ad"),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(deadline=None, max_examples=1500)
@example("file:///public/../secret")
@example("http://h/a%20b?c'")
def test_what_passes_is_left_alone_by_the_reader_of_the_sdks(uri: str) -> None:
    if uris.fault(uri):
        return
    try:
        assert str(AnyUrl(uri)) == uri
    except ValidationError:
        # What it does not take at all, it does not take for something else.
        return
