"""The header that Envoy writes: the nearest element, and nothing that only looks like one."""

import pytest

from openmcp.identity.xfcc import nearest

HASH = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"
REAL = f'By=spiffe://a.org/gw;Hash={HASH};Subject="CN=bot,O=\\"Foo\\"; Inc";URI=spiffe://a.org/bot'


def test_pairs_of_one_element_are_told_by_their_keys() -> None:
    found = nearest(f"{REAL};DNS=a.example;DNS=b.example")
    assert found == {
        "by": ("spiffe://a.org/gw",),
        "hash": (HASH,),
        "subject": ('CN=bot,O="Foo"; Inc',),
        "uri": ("spiffe://a.org/bot",),
        "dns": ("a.example", "b.example"),
    }


@pytest.mark.parametrize("between", [",", ", "])
def test_the_nearest_element_is_the_last(between: str) -> None:
    forged = "By=spiffe://a.org/gw;URI=spiffe://a.org/admin"
    assert nearest(f"{forged}{between}{REAL}")["uri"] == ("spiffe://a.org/bot",)


def test_keys_are_read_in_any_case_and_values_may_be_empty() -> None:
    assert nearest('by=a;SUBJECT="";uri=') == {"by": ("a",), "subject": ("",), "uri": ("",)}


@pytest.mark.parametrize(
    "forged", ['By=x;Subject="', 'By=x;Subject="a\\', 'Subject="x";URI=spiffe://a.org/admin;Subject="']
)
def test_an_open_quote_in_a_foreign_element_swallows_nothing(forged: str) -> None:
    with pytest.raises(ValueError, match=r"quote|key"):
        nearest(f"{forged},{REAL}")


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        ";",
        "spiffe://a.org/bot",
        "By=a,",
        ",By=a",
        "By=a;;URI=b",
        "By=a;Evil=b",
        'URI="spiffe://a.org/x"y',
        'URI=sp"iffe',
        'URI="a\\\\\\"',
        " URI=a",
        "By =a",
        "=a",
    ],
)
def test_what_envoy_never_writes_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        nearest(value)
