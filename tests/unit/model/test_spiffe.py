"""One spelling of each SPIFFE ID, and no other."""

import pytest

from openmcp.model.spiffe import spiffe_id, trust_domain, workload_id


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://a.org/bot",
        "spiffe://prod.company-foo.com/ns/support/sa/support-bot",
        "spiffe://a_b/x.y_z-1/Bot",
        "spiffe://a.org/...",
    ],
)
def test_an_id_is_read_and_written_as_it_is(text: str) -> None:
    assert str(workload_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe:/a.org/bot",
        "SPIFFE://a.org/bot",
        "Spiffe://a.org/bot",
        "https://a.org/bot",
        " spiffe://a.org/bot",
        "spiffe://A.org/bot",
        "spiffe:///bot",
        "spiffe://a.org:443/bot",
        "spiffe://user@a.org/bot",
        "spiffe://a.org/",
        "spiffe://a.org/bot/",
        "spiffe://a.org//bot",
        "spiffe://a.org/./bot",
        "spiffe://a.org/x/../bot",
        "spiffe://a.org/..",
        "spiffe://a.org/b%6ft",
        "spiffe://a.org/bot?x=1",
        "spiffe://a.org/bot#x",
        "spiffe://a.org/bötchen",
        "spiffe://ä.org/bot",
        "spiffe://a.org/bot\n",
        "spiffe://a.org/bot\x00",
        "spiffe://a.org\\bot",
        f"spiffe://{'a' * 256}/bot",
        f"spiffe://a.org/{'b' * 2048}",
    ],
)
def test_whatever_could_be_read_in_two_ways_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        spiffe_id(text)


def test_a_trust_domain_alone_is_an_id_and_no_workload() -> None:
    assert str(spiffe_id("spiffe://a.org")) == "spiffe://a.org"
    with pytest.raises(ValueError, match="no workload"):
        workload_id("spiffe://a.org")


@pytest.mark.parametrize("name", ["", "A.org", "a.org:1", "a/b", "a.org ", "*"])
def test_a_trust_domain_has_one_spelling_too(name: str) -> None:
    with pytest.raises(ValueError, match="not a trust domain"):
        trust_domain(name)
