"""`openmcp key new`: the key and what is configured for it."""

import hashlib
import re
from pathlib import Path

import pytest

from openmcp.cli.key import new_key
from openmcp.cli.main import main
from openmcp.config.identities import ApiKeyIdentity
from tests.unit.config.writing import loaded


def test_the_key_comes_first_and_the_rest_is_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "--name", "support-bot", "--source", "my-keys"]) == 0
    key, _, snippet = capsys.readouterr().out.partition("\n")
    path = tmp_path / "agents.yaml"
    path.write_text(snippet)
    snapshot = loaded(path).snapshot
    assert [source.name for source in snapshot.sources] == ["my-keys"]
    (agent,) = snapshot.agents
    (identity,) = agent.identities
    assert isinstance(identity, ApiKeyIdentity)
    assert (agent.name, identity.source, identity.id) == ("support-bot", "my-keys", "support-bot")
    assert identity.digest == hashlib.sha256(key.encode()).digest()
    assert key not in snippet


def test_a_key_names_its_id_and_holds_at_least_256_random_bits() -> None:
    match = re.fullmatch(r"omcp_bot-1_([A-Za-z0-9]{44})", new_key("bot-1"))
    assert match is not None
    assert len({new_key("bot") for _ in range(100)}) == 100
