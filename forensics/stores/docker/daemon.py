"""Where the Docker daemons of a host were told to keep their data: daemon.json, systemd units, /etc/default, homes, snap."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import StoreReader
from forensics.stores.services import option_lines, service_commands
from forensics.text import readable
from parsers.docker_daemon import PROGRAM, DaemonOptions, daemon_options, parse_daemon_json

DEFAULT_ROOT = b"/var/lib/docker"
SNAP_ROOT = b"/var/snap/docker/common/var-lib-docker"
CONFIGS = (b"/etc/docker/daemon.json", b"/var/snap/docker/current/config/daemon.json")
OPTION_FILES = (b"/etc/default/docker", b"/etc/sysconfig/docker", b"/etc/sysconfig/docker-storage", b"/etc/conf.d/docker")
HOME_ROOT = b".local/share/docker"
HOME_CONFIG = b".config/docker/daemon.json"
MAX_FILE = 1 << 20
MAX_HOMES = 1000


def configured_roots(reader: StoreReader, tree: HostTree) -> Iterator[tuple[bytes, str]]:
    """Every path on the host that a Docker daemon may have had as its data-root, and what says so; the surest first."""
    configs = list(CONFIGS)
    for options, how in _command_lines(reader, tree):
        if options.data_root is not None:
            yield options.data_root.encode(), how
        if options.config_file is not None:
            configs.append(options.config_file.encode())
    homes = list(_homes(reader, tree))
    configs += [home + b"/" + HOME_CONFIG for home in homes]
    for path in dict.fromkeys(configs):
        place = resolve_or_none(tree, path)
        config = reader.load(place, "daemon.json", parse_daemon_json, MAX_FILE)
        if config is not None:
            reader.tell("daemon.json", config.problems, place)
            if config.data_root is not None:
                yield config.data_root.encode(), readable(path)
    yield DEFAULT_ROOT, "default"
    yield SNAP_ROOT, "snap"
    for home in homes:
        yield home + b"/" + HOME_ROOT, "rootless"


def _command_lines(reader: StoreReader, tree: HostTree) -> Iterator[tuple[DaemonOptions, str]]:
    for words, how in option_lines(reader, tree, OPTION_FILES, "Docker's options"):
        options = daemon_options(words)
        if options != DaemonOptions():
            yield options, how
    for argv, how in service_commands(reader, tree, PROGRAM, "docker", list(_homes(reader, tree))):
        yield daemon_options(argv[1:]), how


def _homes(reader: StoreReader, tree: HostTree) -> Iterator[bytes]:
    """The home directories that /etc/passwd names, and those in /home that it does not."""
    passwd = reader.load(resolve_or_none(tree, b"/etc/passwd"), "passwd", lambda data: data.split(b"\n"), MAX_FILE) or ()
    homes = [fields[5].rstrip(b"/") for line in passwd if len(fields := line.split(b":")) == 7 and fields[5].startswith(b"/")]
    homes += [b"/home/" + place.name for place in reader.children(resolve_or_none(tree, b"/home"))]
    yield from [home for home in dict.fromkeys([b"/root", *homes]) if home][:MAX_HOMES]
