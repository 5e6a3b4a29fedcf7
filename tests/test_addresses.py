"""The address guard's table."""

import pytest

from app.addresses import forbidden_range

FORBIDDEN = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fd12:3456:789a::1",
    "fec0::1",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "169.254.169.254",
    "100.100.100.200",
    "fd00:ec2::254",
    "100.64.0.1",
    "100.127.255.255",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "198.18.0.1",
    "192.0.0.1",
    "2001:db8::1",
    "3fff::1",
    "2001::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "5f00::1",
    "",
    "shop.example",
    "127.1",
    "0x7f000001",
]

PERMITTED = [
    "93.184.215.14",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.167.255.255",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_store_is_at(address: str) -> None:
    assert forbidden_range(address, allow_private=False) is not None


@pytest.mark.parametrize("address", PERMITTED)
def test_a_store_may_be_at(address: str) -> None:
    assert forbidden_range(address, allow_private=False) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "fe80::1", "169.254.1.1", "100.64.0.1"])
def test_private_stores_may_be_permitted_at(address: str) -> None:
    assert forbidden_range(address, allow_private=True) is None


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "224.0.0.1", "0.0.0.0", "x"],
)
def test_not_even_a_private_store_is_at(address: str) -> None:
    assert forbidden_range(address, allow_private=True) is not None
