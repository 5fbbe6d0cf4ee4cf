"""What the flow `keeper.py` is told to make, and to show, of its files."""

from __future__ import annotations

#: Every kind of entry that a program may leave behind. ``{root}`` is replaced.
MAKE = r"""
import os
root = {root!r}
os.makedirs(root + "/deep/er", exist_ok=True)
os.mkdir(root + "/empty", 0o711)
files = {{
    "plain": (b"text", 0o644, 0, 0),
    "private": (b"secret", 0o600, 1000, 1001),
    "deep/er/big": (bytes(range(256)) * 12000, 0o640, 7, 8),
    "\u00fc n\u00edcode": (b"", 0o444, 0, 5),
    "runs": (b"#!/bin/true", 0o755, 0, 0),
    "n" * 200: (b"a long name", 0o644, 0, 0),
}}
for name, (content, mode, user, group) in files.items():
    path = root + "/" + name
    with open(path, "wb") as file:
        file.write(content)
    os.chown(path, user, group)
    os.chmod(path, mode)
    os.utime(path, (1_600_000_000, 1_600_000_000))
os.link(root + "/plain", root + "/deep/twin")
os.symlink("plain", root + "/near")
os.symlink("/etc/passwd", root + "/far")
os.symlink("nowhere", root + "/dangling")
os.mkfifo(root + "/pipe", 0o620)
os.chown(root + "/deep", 3, 4)
os.chmod(root + "/deep", 0o1770)
result = True
"""

SHOW = r"""
import hashlib, os, stat
def shown(root):
    found, twins = [], {{}}
    for above, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = os.path.join(above, name)
            seen = os.lstat(path)
            line = [path, oct(seen.st_mode), seen.st_uid, seen.st_gid]
            if stat.S_ISLNK(seen.st_mode):
                line += [os.readlink(path)]
            elif stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as file:
                    line += [hashlib.sha256(file.read()).hexdigest(), int(seen.st_mtime)]
                line += [twins.setdefault(seen.st_ino, path)]
            found.append(line)
    return sorted(found)
result = [shown(root) for root in {roots!r}]
"""


def make(root: str) -> str:
    """The program that makes the tree."""
    return MAKE.format(root=root)


def show(*roots: str) -> str:
    """The program that shows trees: name, kind and mode, owner, content or where a link leads."""
    return SHOW.format(roots=roots)
