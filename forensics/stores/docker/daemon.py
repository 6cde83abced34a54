"""Where the Docker daemons of a host were told to keep their data: daemon.json, systemd units, /etc/default, homes, snap."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_daemon import PROGRAM, DaemonOptions, daemon_options, parse_daemon_json
from parsers.systemd_unit import Setting, command_line, in_force, parse_environment, parse_unit, split_words

DEFAULT_ROOT = b"/var/lib/docker"
SNAP_ROOT = b"/var/snap/docker/common/var-lib-docker"
CONFIGS = (b"/etc/docker/daemon.json", b"/var/snap/docker/current/config/daemon.json")
UNIT_DIRECTORIES = (b"/etc/systemd/system", b"/run/systemd/system", b"/usr/local/lib/systemd/system", b"/usr/lib/systemd/system",
                    b"/lib/systemd/system")  # fmt: skip
USER_UNITS = b".config/systemd/user"
OPTION_FILES = (b"/etc/default/docker", b"/etc/sysconfig/docker", b"/etc/sysconfig/docker-storage", b"/etc/conf.d/docker")
HOME_ROOT = b".local/share/docker"
HOME_CONFIG = b".config/docker/daemon.json"
MAX_FILE = 1 << 20
MAX_UNITS = 5000
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
    for path in OPTION_FILES:
        variables = reader.load(resolve_or_none(tree, path), "Docker's options", parse_environment, MAX_FILE) or {}
        for name, value in sorted(variables.items()):
            options = daemon_options(split_words(value))
            if options != DaemonOptions():
                yield options, f"{name} in {readable(path)}"
    directories = [*UNIT_DIRECTORIES, *(home + b"/" + USER_UNITS for home in _homes(reader, tree))]
    for name, settings in sorted(_units(reader, tree, directories).items()):
        environment = _environment(reader, tree, settings)
        for value in in_force(settings, "Service", "ExecStart"):
            argv = command_line(value, environment)
            if argv and PROGRAM.search(argv[0]):
                yield daemon_options(argv[1:]), f"ExecStart in {name}"


def _units(reader: StoreReader, tree: HostTree, directories: list[bytes]) -> dict[str, list[Setting]]:
    """The services that start a Docker daemon, with their drop-ins; the first directory that has a file wins over the others."""
    files: dict[bytes, Place] = {}
    drop_ins: dict[bytes, dict[bytes, Place]] = {}
    for directory in directories:
        for place in reader.children(resolve_or_none(tree, directory))[:MAX_UNITS]:
            if place.name.endswith(b".service"):
                resolved = resolve_or_none(tree, directory + b"/" + place.name)
                if resolved is not None and reader.type(resolved) == "f":
                    files.setdefault(place.name, resolved)
            elif place.name.endswith(b".service.d") and b"docker" in place.name:
                inside = drop_ins.setdefault(place.name.removesuffix(b".d"), {})
                for drop_in in reader.children(resolve_or_none(tree, directory + b"/" + place.name)):
                    if drop_in.name.endswith(b".conf"):
                        inside.setdefault(drop_in.name, drop_in)
    units = {}
    for name in {*files, *drop_ins}:
        parts = [files[name]] if name in files else []
        parts += [place for _, place in sorted(drop_ins.get(name, {}).items())]
        settings = [setting for part in parts for setting in reader.load(part, "systemd unit", parse_unit, MAX_FILE) or ()]
        if any("docker" in setting.value for setting in settings if setting.name == "ExecStart"):
            units[readable(name)] = settings
    return units


def _environment(reader: StoreReader, tree: HostTree, settings: list[Setting]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for value in in_force(settings, "Service", "Environment"):
        environment.update((name, text) for name, equals, text in (word.partition("=") for word in split_words(value)) if equals)
    for path in in_force(settings, "Service", "EnvironmentFile"):
        place = resolve_or_none(tree, path.removeprefix("-").encode())
        environment.update(reader.load(place, "environment file", parse_environment, MAX_FILE) or {})
    return environment


def _homes(reader: StoreReader, tree: HostTree) -> Iterator[bytes]:
    """The home directories that /etc/passwd names, and those in /home that it does not."""
    passwd = reader.load(resolve_or_none(tree, b"/etc/passwd"), "passwd", lambda data: data.split(b"\n"), MAX_FILE) or ()
    homes = [fields[5].rstrip(b"/") for line in passwd if len(fields := line.split(b":")) == 7 and fields[5].startswith(b"/")]
    homes += [b"/home/" + place.name for place in reader.children(resolve_or_none(tree, b"/home"))]
    yield from [home for home in dict.fromkeys([b"/root", *homes]) if home][:MAX_HOMES]
