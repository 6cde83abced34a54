"""Secrets in texts: what is blacked out, and in what time."""

import time

from forensics.redact import is_secret_name, without_secrets
from support.hostile_case import SECRET


def test_text_without_secrets():
    kept = (
        "ssh key of /root/.ssh/authorized_keys", "password policy: none", "PATH=/usr/bin", "https://example.org/a?b=c", "token",
        "PASSWORD=$DB_PASSWORD", "mysql --user=root",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAA", "token:/run/x:ro",
    )  # fmt: skip
    for text in kept:
        assert without_secrets(text) == text
    taken = (
        f"DB_PASSWORD={SECRET}", f"mysql -u root -p{SECRET} shop", f"postgres://app:{SECRET}@db/shop",
        f'{{"api_key": "{SECRET}"}}',
        f"curl -u admin:{SECRET} http://x", f"--token {SECRET}", f"Authorization: Bearer {SECRET}", f"sshpass -p {SECRET} ssh x",
        f"export AWS_SECRET_ACCESS_KEY='{SECRET}'",
    )  # fmt: skip
    for text in taken:
        assert SECRET not in without_secrets(text)
        assert without_secrets(without_secrets(text)) == without_secrets(text)
    assert is_secret_name("MYSQL_ROOT_PASSWORD")
    assert is_secret_name("SIGNING_KEY")
    assert not is_secret_name("KEYBOARD")
    assert not is_secret_name("PATH")


def test_looking_for_secrets_takes_no_longer_than_reading():
    for text in ("password" * 20_000, "a" * 200_000, "://" * 60_000, "curl -u " * 20_000, "--a-" * 50_000, "eyJ" * 60_000):
        started = time.perf_counter()
        without_secrets(text)
        assert time.perf_counter() - started < 5
