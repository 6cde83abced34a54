"""Health checks in config.v2.json."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.docker_health import MAX_CHECKS, parse_health
from parsers.errors import FormatError

# as Docker 26.1 writes it
CHECK = b'{"Start":"2026-11-27T12:03:14.7Z","End":"2026-11-27T12:03:14.8Z","ExitCode":1,"Output":"refused"}'
CONFIG = b'{"State":{"Health":{"Status":"unhealthy","FailingStreak":3,"Log":[%s]}}}'


def test_checks_are_told_in_their_order():
    first, second = parse_health(CONFIG % (CHECK + b"," + CHECK.replace(b":14.8Z", b":15.8Z").replace(b'de":1', b'de":0')))
    assert (first.exit_code, first.output) == (1, "refused")
    assert first.ended_ns is not None
    assert second.exit_code == 0
    assert second.ended_ns == first.ended_ns + 10**9


def test_a_container_without_health_checks_has_none():
    for config in (b"{}", b'{"State":{"Health":null}}', CONFIG % b""):
        assert parse_health(config) == ()


def test_no_more_checks_are_told_than_can_be():
    assert len(parse_health(CONFIG % b",".join([CHECK] * 500))) == MAX_CHECKS


@settings(deadline=None, derandomize=True)
@given(
    st.binary(max_size=100) | st.integers(0, 100).map(lambda n: (CONFIG % CHECK)[:n]), st.integers(0, 160), st.integers(0, 255)
)
def test_damage_is_a_format_error(data, at, byte):
    whole = bytearray(CONFIG % CHECK)
    whole[at % len(whole)] = byte
    for damaged in (data, bytes(whole)):
        with contextlib.suppress(FormatError):
            parse_health(damaged)
