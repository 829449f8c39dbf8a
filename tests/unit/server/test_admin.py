"""Probes and scrapers get what they ask for, and nobody gets more."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from openmcp.server.admin import Admin


class Node:
    def __init__(self) -> None:
        self.is_ready = True

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        return self.is_ready, {"generation": 3}


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def admin(node: Node) -> Iterator[Admin]:
    admin = Admin("127.0.0.1", 0, lambda: b"openmcp_test_total 5.0\n", node.readiness)
    admin.start()
    yield admin
    admin.stop()


def get(admin: Admin, path: str, method: str = "GET") -> tuple[int, bytes]:
    host, port = admin.address
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_readiness_tells_the_probe_and_the_person(admin: Admin, node: Node) -> None:
    status, body = get(admin, "/readyz")
    assert (status, msgspec.json.decode(body)) == (200, {"ready": True, "generation": 3})
    node.is_ready = False
    status, body = get(admin, "/readyz")
    assert (status, msgspec.json.decode(body)) == (503, {"ready": False, "generation": 3})


def test_liveness_depends_on_nothing(admin: Admin, node: Node) -> None:
    node.is_ready = False
    assert get(admin, "/livez")[0] == 200


def test_metrics_are_those_of_the_registry(admin: Admin) -> None:
    status, body = get(admin, "/metrics")
    assert status == 200
    assert b"openmcp_test_total 5.0" in body


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/livez/x", "/mcp"])
def test_there_is_nothing_else(admin: Admin, path: str) -> None:
    assert get(admin, path)[0] == 404


def test_nothing_can_be_changed(admin: Admin) -> None:
    assert get(admin, "/readyz", "POST")[0] == 405


def test_stopped_admin_answers_no_more(admin: Admin) -> None:
    admin.stop()
    admin.stop()
    with pytest.raises(urllib.error.URLError):
        get(admin, "/livez")


def test_address_in_use_is_an_error(admin: Admin, node: Node) -> None:
    with pytest.raises(OSError, match="in use"):
        Admin(*admin.address, lambda: b"", node.readiness).start()
