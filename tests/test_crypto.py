"""Sealed credentials and API keys."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import (
    MalformedSealingKeys,
    Sealer,
    Unsealable,
    api_key_id,
    api_key_text,
    hash_api_key,
    is_api_key,
    new_api_key,
    new_sealing_key,
)

OLD = f"old:{base64.b64encode(bytes(32)).decode()}"
NEW = f"new:{base64.b64encode(bytes(range(32))).decode()}"


@given(plain=st.binary(max_size=300), aad=st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_was_sealed_opens_for_the_same_row(plain: bytes, aad: str) -> None:
    sealer = Sealer.from_text(NEW)
    assert sealer.open(sealer.seal(plain, aad=aad), aad=aad) == plain


def test_a_sealed_value_is_of_no_use_in_another_row() -> None:
    sealer = Sealer.from_text(NEW)
    with pytest.raises(Unsealable):
        sealer.open(sealer.seal(b"cs_secret", aad="st_1"), aad="st_2")


def test_every_altered_byte_is_noticed() -> None:
    sealer = Sealer.from_text(f"{NEW},{OLD}")
    sealed = sealer.seal(b"cs_secret", aad="st_1")
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(Unsealable):
            sealer.open(bytes(altered), aad="st_1")


@given(sealed=st.binary(max_size=60))
def test_junk_is_unsealable_and_nothing_else(sealed: bytes) -> None:
    sealer = Sealer.from_text(NEW)
    assert not sealer.is_current(sealed) or sealed[2:5] == b"new"
    with pytest.raises(Unsealable):
        sealer.open(sealed, aad="st_1")


def test_the_first_key_seals_and_all_open() -> None:
    before = Sealer.from_text(OLD).seal(b"secret", aad="st_1")
    rotated = Sealer.from_text(f"{NEW}, {OLD}")
    assert rotated.open(before, aad="st_1") == b"secret"
    assert not rotated.is_current(before)
    after = rotated.seal(b"secret", aad="st_1")
    assert rotated.is_current(after)
    with pytest.raises(Unsealable):
        Sealer.from_text(OLD).open(after, aad="st_1")


def test_equal_secrets_do_not_look_equal_when_sealed() -> None:
    sealer = Sealer.from_text(NEW)
    assert sealer.seal(b"secret", aad="st_1") != sealer.seal(b"secret", aad="st_1")


def test_a_new_sealing_key_can_be_used_as_it_stands() -> None:
    text = new_sealing_key()
    assert text != new_sealing_key()
    sealer = Sealer.from_text(text)
    assert sealer.open(sealer.seal(b"x", aad=""), aad="") == b"x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nokey",
        "a:",
        "a:!!!!",
        "a:c2hvcnQ=",
        f":{base64.b64encode(bytes(32)).decode()}",
        f"{NEW},{NEW}",
        f"{NEW},",
        f"ä:{base64.b64encode(bytes(32)).decode()}",
    ],
)
def test_malformed_sealing_keys_are_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(MalformedSealingKeys) as caught:
        Sealer.from_text(text)
    assert base64.b64encode(bytes(range(32))).decode() not in str(caught.value)


def test_a_sealer_shows_no_key() -> None:
    assert NEW.partition(":")[2] not in repr(Sealer.from_text(NEW))


def test_an_api_key_is_known_by_its_hash_and_its_id() -> None:
    key = new_api_key()
    prefix, key_id, secret = key.text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("rgk", key.id, 43)
    assert key.hash == hash_api_key(key.text)
    assert is_api_key(key.text, key.hash)
    assert not is_api_key(new_api_key().text, key.hash)
    assert api_key_id(key.text) == key.id
    assert key.text not in repr(key)


@pytest.mark.parametrize("whole", [True, False])
def test_basic_credentials_give_the_same_key(whole: bool) -> None:
    key = new_api_key()
    assert api_key_text(key.id, key.text if whole else key.text.split("_", 2)[2]) == key.text


def test_what_cannot_be_a_key_is_none() -> None:
    key, other = new_api_key(), new_api_key()
    assert api_key_id("") is None
    assert api_key_id(key.text + "\n") is None
    assert api_key_id(key.text[:-1]) is None
    assert api_key_id("rgk_" + "ä" * 12 + key.text[16:]) is None
    assert api_key_text(key.id, "short") is None
    assert api_key_text(key.id, other.text) is None
    assert api_key_text("key_1", key.text.split("_", 2)[2]) is None
