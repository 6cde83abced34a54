"""A container's own directory, <driver>-containers/<id>/userdata: the OCI spec of its last start, and what each engine left."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.stores.reading import Place, StoreReader
from parsers.crio import CrioState, parse_exit_file, parse_state
from parsers.json_fields import parse_object
from parsers.oci_spec import OciSpec, parse_spec

MAX_JSON = 16 << 20
MAX_EXIT = 64


@dataclass(frozen=True, slots=True)
class Userdata:
    """spec: config.json, None where missing or damaged. state: CRI-O's state.json. buildah_image: what Buildah began with.

    exit: what conmon left there when the container's process had ended: its exit code, and when that was written.
    """

    spec: OciSpec | None = None
    spec_text: str | None = None
    state: CrioState | None = None
    buildah_image: str | None = None
    buildah: bool = False
    exit: tuple[int, int | None] | None = None


def read_userdata(reader: StoreReader, containers: Place | None, container_id: str) -> Userdata:
    """What a container's directory tells; nothing for a container without one."""
    place = reader.child(containers, container_id.encode(), b"userdata") if containers is not None else None
    if place is None:
        return Userdata()
    config = reader.child(place, b"config.json")
    spec, text = reader.load(config, "OCI spec", lambda data: (parse_spec(data), data.decode("utf-8", "replace")), MAX_JSON) or (
        None,
        None,
    )
    if spec is not None:
        reader.tell("OCI spec", spec.problems, config)
    state_place = reader.child(place, b"state.json")
    state = reader.load(state_place, "state.json", parse_state, MAX_JSON)
    if state is not None:
        reader.tell("state.json", state.problems, state_place)
    buildah = reader.child(place, b"buildah.json")
    fields = reader.load(buildah, "buildah.json", parse_object, MAX_JSON)
    if fields is not None:
        reader.tell("buildah.json", fields.problems, buildah)
    image = fields.text("image") or None if fields is not None else None
    return Userdata(spec, text, state, image, buildah is not None, _exit(reader, reader.child(place, b"exit")))


def _exit(reader: StoreReader, place: Place | None) -> tuple[int, int | None] | None:
    code = reader.load(place, "exit file", parse_exit_file, MAX_EXIT)
    inode = reader.inode(place) if place is not None and code is not None else None
    return (code, inode.mtime_ns) if code is not None and inode is not None else None
