"""How a host starts its daemons: the command lines in systemd's units, and the options in /etc/default and its likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from re import Pattern

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.systemd_unit import Setting, command_line, in_force, parse_environment, parse_unit, split_words

UNIT_DIRECTORIES = (b"/etc/systemd/system", b"/run/systemd/system", b"/usr/local/lib/systemd/system", b"/usr/lib/systemd/system",
                    b"/lib/systemd/system")  # fmt: skip
USER_UNITS = b".config/systemd/user"
MAX_FILE = 1 << 20
MAX_UNITS = 5000
MAX_SIZE = 8 << 20  # of all units of one program together, links to the same file counted each
MAX_ENVIRONMENTS = 20


def option_lines(reader: StoreReader, tree: HostTree, paths: Sequence[bytes], artefact: str) -> Iterator[tuple[list[str], str]]:
    """The words of each variable in files of shell variables, and what says so."""
    for path in paths:
        variables = reader.load(resolve_or_none(tree, path), artefact, parse_environment, MAX_FILE) or {}
        for name, value in sorted(variables.items()):
            yield split_words(value), f"{name} in {readable(path)}"


def service_commands(
    reader: StoreReader, tree: HostTree, program: Pattern[str], word: str, homes: Sequence[bytes] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The argv of each ExecStart of a program, and the unit. word: what its command lines and its drop-ins' directories have in
    them; homes: whose users' units count, too."""
    directories = [*UNIT_DIRECTORIES, *(home + b"/" + USER_UNITS for home in homes)]
    for name, settings in sorted(_units(reader, tree, directories, word).items()):
        environment = _environment(reader, tree, settings)
        for value in in_force(settings, "Service", "ExecStart"):
            argv = command_line(value, environment)
            if argv and program.search(argv[0]):
                yield argv, f"ExecStart in {name}"


def _units(reader: StoreReader, tree: HostTree, directories: list[bytes], word: str) -> dict[str, list[Setting]]:
    """The services that start a program, with their drop-ins; the first directory that has a file wins over the others."""
    files: dict[bytes, Place] = {}
    drop_ins: dict[bytes, dict[bytes, Place]] = {}
    for directory in directories:
        for place in reader.children(resolve_or_none(tree, directory), most=MAX_UNITS):
            if place.name.endswith(b".service"):
                resolved = resolve_or_none(tree, directory + b"/" + place.name)
                if resolved is not None and reader.type(resolved) == "f":
                    files.setdefault(place.name, resolved)
            elif place.name.endswith(b".service.d") and word.encode() in place.name:
                inside = drop_ins.setdefault(place.name.removesuffix(b".d"), {})
                for drop_in in reader.children(resolve_or_none(tree, directory + b"/" + place.name))[:MAX_UNITS]:
                    if drop_in.name.endswith(b".conf"):
                        inside.setdefault(drop_in.name, drop_in)
    units = {}
    left = MAX_SIZE
    for name in sorted({*files, *drop_ins}):
        parts = [files[name]] if name in files else []
        parts += [place for _, place in sorted(drop_ins.get(name, {}).items())]
        left -= sum(inode.size for part in parts if (inode := reader.inode(part)) is not None and inode.size <= MAX_FILE)
        if left < 0:
            reader.gap("systemd unit", f"units of more than {MAX_SIZE:,} bytes; those from {readable(name)} on were not read")
            break
        settings = [setting for part in parts for setting in reader.load(part, "systemd unit", parse_unit, MAX_FILE) or ()]
        if any(word in setting.value for setting in settings if setting.name == "ExecStart"):
            units[readable(name)] = settings
    return units


def _environment(reader: StoreReader, tree: HostTree, settings: list[Setting]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for value in in_force(settings, "Service", "Environment"):
        environment.update((name, text) for name, equals, text in (word.partition("=") for word in split_words(value)) if equals)
    paths = dict.fromkeys(reversed(in_force(settings, "Service", "EnvironmentFile")))  # the last one of a variable counts
    if len(paths) > MAX_ENVIRONMENTS:
        reader.gap("environment file", f"{len(paths):,} of one unit; only the last {MAX_ENVIRONMENTS} were read")
    for path in reversed(list(paths)[:MAX_ENVIRONMENTS]):
        place = resolve_or_none(tree, path.removeprefix("-").encode())
        environment.update(reader.load(place, "environment file", parse_environment, MAX_FILE) or {})
    return environment
