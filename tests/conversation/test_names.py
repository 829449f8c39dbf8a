"""Names that are in no list: the gateway answers, whatever the method by which they are used."""

import pytest

from tests.conversation.replica import Body, Offers
from tests.conversation.site import allow, site_of

ARGUMENT = {"name": "a", "value": "v"}
USES = pytest.mark.parametrize(
    ("method", "listed", "unlisted"),
    [
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": ARGUMENT},
            {"ref": {"type": "ref/prompt", "name": "nothing"}, "argument": ARGUMENT},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "doc://{name}/of"}, "argument": ARGUMENT},
            {"ref": {"type": "ref/resource", "uri": "doc://nothing/{name}"}, "argument": ARGUMENT},
        ),
        ("resources/subscribe", {"uri": "doc://open"}, {"uri": "doc://nothing"}),
    ],
)


@USES
async def test_a_name_in_no_list_never_reaches_the_server(method: str, listed: Body, unlisted: Body) -> None:
    offers = Offers(templates=[{"uriTemplate": "doc://{name}/of"}])
    async with site_of(allow(), offers=offers) as site:
        bot = await site.connected()
        call = bot.asks(method, **unlisted)
        assert "error" in await call.answer()
        assert await site.kind(call) == "hidden"
        call = bot.asks(method, **listed)
        (await site.takes(method)).answers({})
        await call.result()
