"""Graphroots of containers/storage as trees for a MemoryFilesystem."""

import json

BASE, SECOND, OWN, IMAGE, CID, POD = (letter * 64 for letter in "abcdef")
LINKS = {BASE: "A" * 26, SECOND: "B" * 26, OWN: "C" * 26}


def layer(name, *below, **more):
    lower = {"lower": ":".join(f"l/{LINKS[each]}" for each in below).encode()} if below else {"empty": {}}
    return {"diff": {}, "link": LINKS[name].encode(), "work": {}, **lower, **more}


def document(*records):
    return json.dumps(records, separators=(",", ":")).encode()


def graph_root(**changes):
    """A container on an image of two layers."""
    tree = {
        "overlay": {
            "l": {link: f"../{name}/diff" for name, link in LINKS.items()},
            BASE: layer(BASE),
            SECOND: layer(SECOND, BASE),
            OWN: layer(OWN, SECOND, BASE),
            ".has-mount-program": b"false",
        },
        "overlay-layers": {"layers.json": document({"id": BASE}, {"id": SECOND, "parent": BASE}, {"id": OWN, "parent": SECOND})},
        "overlay-images": {"images.json": document({"id": IMAGE, "layer": SECOND, "names": ["localhost/x:1"]})},
        "overlay-containers": {"containers.json": document({"id": CID, "names": ["web"], "layer": OWN, "image": IMAGE})},
    }
    for path, thing in changes.items():
        *directories, name = path.split("__")
        inside = tree
        for directory in directories:
            inside = inside[directory]
        inside[name] = thing
    return tree
