"""All events of a case but for times of files, log lines and deleted files, which the view `timeline` reads where they stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

from forensics.filesystem import Filesystem
from forensics.records import Event, Gap
from forensics.timeline.containers import container_events
from forensics.timeline.deletions import deletion_events
from forensics.timeline.guest_logs import guest_events
from forensics.timeline.images import build_events, image_events
from forensics.timeline.mounts import mount_events
from forensics.timeline.old_keys import old_key_events
from forensics.timeline.past_configs import past_config_events
from forensics.timeline.removals import removal_events
from forensics.timeline.set_times import set_time_events
from forensics.timeline.storage import artefact_events, layer_events, network_events, volume_events

OF_RECORDS = (
    image_events, build_events, layer_events, volume_events, network_events, artefact_events, container_events, deletion_events,
    set_time_events,
)  # fmt: skip


def read_events(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem], gaps: list[Gap]) -> Iterator[Event]:
    """What the case's records and layers tell, in an order of their own.

    What `lower_entries` found must be in the case. filesystems: by partition. gaps: what could not be read is added to them.
    """
    for events in OF_RECORDS:
        yield from events(db)
    yield from old_key_events(db, gaps)
    yield from mount_events(db, filesystems, gaps)
    yield from removal_events(db, filesystems)
    yield from past_config_events(db, filesystems, gaps)
    yield from guest_events(db, filesystems, gaps)
