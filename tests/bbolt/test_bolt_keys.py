"""The keys of stores' bbolt files in a case: what the same file says when it is read alone, and what its old pages hold."""

import json

from support.cli import ask, run_cli

META = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"


def listed(image, file, *options):
    """Bucket path and key of every key with a value, as `bolt` lists them."""
    return json.loads(run_cli("bolt", file, "--image", image, "--format", "json", *options))


def test_live_keys_are_those_that_bolt_lists(carved, sample):
    image = sample("snapshots")
    files = [row["file"] for row in ask(carved("snapshots"), "SELECT DISTINCT file FROM bolt_keys ORDER BY file")]
    assert META in files
    assert "/var/lib/docker/network/files/local-kv.db" in files
    for file in files:
        alone = [row for row in listed(image, file) if row["value_bytes"] is not None]
        kept = ask(carved("snapshots"), f"SELECT * FROM bolt_keys WHERE file = '{file}' AND state = 'live'")
        assert len(kept) == len(alone) > 0
        assert sorted((row["page"], row["offset"]) for row in kept) == sorted((row["page"], row["disk_offset"]) for row in alone)
        assert sum(row["value_bytes"] for row in kept) == sum(row["value_bytes"] for row in alone)


def test_every_key_stands_where_it_is_said_to(carved, sample):
    raw = sample("snapshots").read_bytes()
    rows = ask(carved("snapshots"), "SELECT * FROM bolt_keys")
    assert {row["state"] for row in rows} >= {"live", "stale"}
    for row in rows:
        key = row["key_raw"] if row["key_raw"] is not None else row["key"].encode()
        assert raw[row["offset"] : row["offset"] + len(key)] == key
