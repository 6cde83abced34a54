"""Rules about accounts, sudoers and SSH keys: what a container's files have that its image's have not."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.findings.changed_files import ChangedFile
from forensics.findings.redact import redacted
from forensics.findings.rule import Rule, rule
from forensics.records import Finding
from parsers.account_files import parse_authorized_keys, parse_group, parse_passwd, parse_shadow, parse_sudoers

_POWERFUL_GROUPS = ("root", "sudo", "wheel", "admin", "docker", "shadow", "disk", "adm", "lxd", "podman")
_NO_PASSWORD = ("x", "*", "!", "!!", "!*", "*LK*", "NP")
_USUAL_RULES = ("root ALL=(ALL:ALL) ALL", "root ALL=(ALL) ALL", "%sudo ALL=(ALL:ALL) ALL", "%admin ALL=(ALL) ALL",
                "%wheel ALL=(ALL) ALL", "%wheel ALL=(ALL:ALL) ALL")  # fmt: skip
_PEOPLE = range(1000, 65_534)


def accounts(file: ChangedFile) -> Iterator[Finding]:
    """New and changed lines of /etc/passwd."""
    if file.path != b"/etc/passwd" or not file.is_new_content:
        return
    before, after = parse_passwd(file.lower_head), parse_passwd(file.head)
    for name in sorted(after):
        new, old = after[name], before.get(name)
        what = f"uid {new.uid}, home {new.home}, shell {new.shell or '/bin/sh'}"
        if new.uid == 0 and (old.uid != 0 if old is not None else name != "root"):
            yield file.finding("high", f"account {name} has uid 0", what)
        elif new.password == "" and (old is None or old.password != ""):
            yield file.finding("high", f"account {name} needs no password", what)
        elif new.password not in _NO_PASSWORD and (old is None or old.password != new.password):
            yield file.finding("medium", f"account {name} has a password in /etc/passwd", what)
        elif old is None:
            severity = "info" if not new.may_log_in else "medium" if new.uid in _PEOPLE else "low"
            yield file.finding(severity, f"new account {name}", what)
        elif new.may_log_in and not old.may_log_in:
            yield file.finding("medium", f"account {name} may log in now", f"shell {old.shell} became {new.shell or '/bin/sh'}")
    gone = sorted(before.keys() - after.keys())
    if gone and file.size == len(file.head):
        yield file.finding("low", f"accounts removed: {', '.join(gone[:10])}", "they were in the image's /etc/passwd")


def passwords(file: ChangedFile) -> Iterator[Finding]:
    """New and changed passwords in /etc/shadow, and who may read them."""
    if file.path not in (b"/etc/shadow", b"/etc/passwd", b"/etc/gshadow", b"/etc/sudoers"):
        return
    if file.type == "f" and file.mode & 0o002 and not (file.lower is not None and file.lower.mode & 0o002):
        yield file.finding("high", f"{file.path.decode()} may be written by everybody", f"mode {file.mode:04o}", in_inode=True)
    elif file.path != b"/etc/passwd" and file.mode & 0o004 and not (file.lower is not None and file.lower.mode & 0o004):
        yield file.finding("medium", f"{file.path.decode()} may be read by everybody", f"mode {file.mode:04o}", in_inode=True)
    if file.path != b"/etc/shadow" or not file.is_new_content:
        return
    before, after = parse_shadow(file.lower_head), parse_shadow(file.head)
    for name in sorted(after):
        new, old = after[name], before.get(name)
        if new == "" != old:
            yield file.finding("high", f"account {name} needs no password", "its field in /etc/shadow is empty")
        elif new != old and new[:1] not in ("*", "!", "x"):
            yield file.finding("medium", f"password of {name} was set", "a hash where the image had another, or none")


def groups(file: ChangedFile) -> Iterator[Finding]:
    """New members of groups that make one powerful."""
    if file.path != b"/etc/group" or not file.is_new_content:
        return
    before, after = parse_group(file.lower_head), parse_group(file.head)
    for name in _POWERFUL_GROUPS:
        joined = sorted(set(after.get(name, ())) - set(before.get(name, ())))
        if joined:
            yield file.finding("medium", f"group {name} has new members: {', '.join(joined[:10])}", f"group {name}")


def sudoers(file: ChangedFile) -> Iterator[Finding]:
    """New rules of sudo."""
    if file.path != b"/etc/sudoers" and not file.path.startswith(b"/etc/sudoers.d/"):
        return
    if not file.is_new_content or file.packaged == "verified":
        return
    known = {*parse_sudoers(file.lower_head), *_USUAL_RULES}
    for line in parse_sudoers(file.head):
        if line in known:
            continue
        everything = line.rstrip().endswith(("NOPASSWD: ALL", "NOPASSWD:ALL"))
        yield file.finding("high" if everything else "medium", f"new sudo rule for {line.split()[0]}", redacted(line))


def authorized_keys(file: ChangedFile) -> Iterator[Finding]:
    """Keys that may log in over SSH."""
    if file.name not in (b"authorized_keys", b"authorized_keys2") or not file.is_new_content:
        return
    known = {key.key for key in parse_authorized_keys(file.lower_head)}
    new = [key for key in parse_authorized_keys(file.head) if key.key not in known]
    if new:
        told = [f"{key.type} {key.comment or 'without a comment'}" for key in new[:20]]
        yield file.finding("high", f"new SSH key may log in: {told[0]}", "; ".join(told))
    elif file.head.strip() and not known:
        yield file.finding("low", "authorized_keys without a readable key", f"{file.size} bytes")


def ssh_server(file: ChangedFile) -> Iterator[Finding]:
    """What lets more people in through sshd."""
    if not file.path.startswith(b"/etc/ssh/sshd_config") or not file.is_new_content or file.packaged == "verified":
        return
    wanted = {"permitrootlogin yes", "permitemptypasswords yes"}
    before = {" ".join(line.split()).lower() for line in file.lower_head.decode("utf-8", "replace").split("\n")}
    for line in file.head.decode("utf-8", "replace").split("\n"):
        plain = " ".join(line.split()).lower()
        if plain in wanted - before or (
            plain.startswith(("authorizedkeyscommand ", "authorizedkeysfile ")) and plain not in before
        ):
            yield file.finding("medium", f"sshd lets more people in: {' '.join(line.split())[:100]}", "not so in the image")


RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "account",
        "high",
        "New or changed account",
        why="A second account with uid 0, or one without a password, is root for whoever knows its name.",
        check="Compare /etc/passwd in the container's own layer with the image's: ctrforensics cat, and cat --layer.",
        benign="Packages add accounts of their own, without a shell; entrypoints add one for the uid that they were given.",
        attack=("T1136.001", "T1078.003"),
        look=accounts,
    ),
    rule(
        "password",
        "high",
        "Password set, or open to all",
        why="A new password, an empty one, or a shadow file that everybody may read gives access that the image did not.",
        check="Compare /etc/shadow in the container's own layer with the image's, the mode in `files`.",
        benign="Entrypoints that set a password from their environment.",
        attack=("T1136.001", "T1078.003"),
        look=passwords,
    ),
    rule(
        "group",
        "medium",
        "New member of a powerful group",
        why="Members of sudo, wheel, docker, disk or shadow become root in one step.",
        check="Compare /etc/group in the container's own layer with the image's.",
        benign="Build and development containers.",
        attack=("T1136.001", "T1078.003"),
        look=groups,
    ),
    rule(
        "sudoers",
        "high",
        "New sudo rule",
        why="A rule with NOPASSWD: ALL makes an ordinary account root.",
        check="Read /etc/sudoers and /etc/sudoers.d in the container's own layer, and compare with the image.",
        benign="Development containers.",
        attack=("T1548.003",),
        look=sudoers,
    ),
    rule(
        "ssh-key",
        "high",
        "New SSH key may log in",
        why="A key in authorized_keys is a way back in that survives a change of every password.",
        check="ctrforensics cat; look for the key and its comment on other hosts and in sshd's logs.",
        benign="Containers that serve SFTP or Git write the keys that they were given.",
        attack=("T1098.004",),
        look=authorized_keys,
    ),
    rule(
        "sshd",
        "medium",
        "sshd lets more people in",
        why="Root logins and keys from elsewhere are what makes a stolen or planted credential useful.",
        check="Compare /etc/ssh/sshd_config in the container's own layer with the image's.",
        benign="Containers that are meant to be logged into.",
        attack=("T1098.004", "T1078.003"),
        look=ssh_server,
    ),
)  # fmt: skip
