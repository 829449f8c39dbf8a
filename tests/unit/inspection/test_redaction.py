"""What the log redactor takes out, and that what it says of it tells nothing."""

import base64
import json
from typing import Any

import pytest

from openmcp.inspection.redaction import LogRedactor
from openmcp.model.content import Pattern, Redaction

REDACTOR = LogRedactor()
SSN = "123-45-6789"
CARD = "4111 1111 1111 1111"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"


def redacted(value: Any) -> Any:
    return REDACTOR.redact(value)[0]


def test_what_holds_nothing_is_the_same_object() -> None:
    value: Any = {"a": [1, "text", None, True, 2.5], "b": {"c": "d"}}
    assert REDACTOR.redact(value) == (value, ())
    assert redacted(value) is value


def test_each_place_is_named_with_detector_and_length_and_never_with_the_value() -> None:
    body: Any = {"params": {"arguments": {"note": f"my number is {SSN}, my card {CARD}"}}}
    value, taken = REDACTOR.redact(body)
    assert value == {
        "params": {"arguments": {"note": "my number is [REDACTED:us-ssn], my card [REDACTED:credit-card]"}}
    }
    path = "$.params.arguments.note"
    assert taken == (Redaction(path, "us-ssn", 11), Redaction(path, "credit-card", 19))


def test_what_is_not_touched_is_shared() -> None:
    body: Any = {"kept": {"a": "b"}, "changed": SSN}
    assert redacted(body)["kept"] is body["kept"]


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "Authorization", "access_token", "clientSecret", "x-api-key", "SECRET", "Set-Cookie"],
)
def test_values_of_secret_keys_are_taken_out_whatever_they_look_like(key: str) -> None:
    assert redacted({key: "x"}) == {key: f"[REDACTED:key:{key}]"}
    assert redacted({key: 7}) == {key: f"[REDACTED:key:{key}]"}
    assert redacted({key: {"user": "u"}}) == {key: f"[REDACTED:key:{key}]"}


@pytest.mark.parametrize("key", ["progressToken", "maxTokens", "nextCursor", "tokenizer", "passwordless", "secretary"])
def test_keys_that_only_sound_like_it_keep_their_values(key: str) -> None:
    assert redacted({key: "abc"}) == {key: "abc"}


def test_a_schema_keeps_its_properties() -> None:
    schema = {"inputSchema": {"type": "object", "properties": {"password": {"type": "string"}}}}
    assert redacted(schema) is schema


def test_keys_of_the_operator_count_beside_the_default_ones() -> None:
    redactor = LogRedactor(keys=["Kunden-Nr"])
    assert redactor.redact({"kundenNr": "7", "password": "x"})[0] == {
        "kundenNr": "[REDACTED:key:kundenNr]",
        "password": "[REDACTED:key:password]",
    }


def test_detectors_of_the_operator_count_beside_the_default_ones() -> None:
    redactor = LogRedactor(detectors=["email", Pattern("customer", regex=(r"CUST-\d{4}",))])
    assert redactor.redact(["a@example.com", "see CUST-1234", SSN])[0] == [
        "[REDACTED:email]",
        "see [REDACTED:customer]",
        "[REDACTED:us-ssn]",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "hunter2"}',
        'say {"user":"u", "api_key" : "hunter2"}',
        "https://host/path?user=u&access_token=hunter2",
        "curl -H 'Authorization: Bearer hunter2'",
    ],
)
def test_secret_keys_inside_a_text_are_seen(text: str) -> None:
    value, taken = REDACTOR.redact({"t": text})
    assert "hunter2" not in json.dumps(value)
    assert [redaction.detector for redaction in taken] == ["key"]


@pytest.mark.parametrize(
    "hidden",
    [
        "123\u201345\u20136789",
        "１２３-４５-６７８９",
        "12\u200b3-45-67\u00ad89",
        '{"n": "\\u0031\\u0032\\u0033-45-6789"}',
        base64.b64encode(f"number {SSN}".encode()).decode(),
        "123%2D45%2D6789",
        "&#49;23-45-6789",
    ],
)
def test_what_shows_only_in_another_reading_takes_the_whole_value(hidden: str) -> None:
    assert redacted({"t": hidden}) == {"t": "[REDACTED:us-ssn]"}


def test_numbers_and_names_are_texts_too() -> None:
    value, taken = REDACTOR.redact({"ssn": 123456789, "cards": [4111111111111111], SSN: {"a": SSN}, CARD: 1})
    assert value == {
        "ssn": "[REDACTED:us-ssn]",
        "cards": ["[REDACTED:credit-card]"],
        "[REDACTED:us-ssn]": {"a": "[REDACTED:us-ssn]"},
        "[REDACTED:credit-card]": 1,
    }
    assert not any(SSN in redaction.path or CARD in redaction.path for redaction in taken)


def test_two_names_that_are_taken_out_stay_two() -> None:
    assert len(redacted({"123-45-6789": 1, "123-45-6780": 2})) == 2


def test_a_private_key_goes_to_its_last_line() -> None:
    assert redacted(f"before {KEY} after") == "before [REDACTED:private-key] after"
    assert redacted(KEY[:40]) == "[REDACTED:private-key]"


def test_what_cannot_be_inspected_is_not_written() -> None:
    text = "7"
    for _ in range(12):
        text = json.dumps({"n": text})
    assert REDACTOR.redact({"a": text}) == ("[REDACTED:inspection-budget]", (Redaction("$", "inspection-budget", 0),))
