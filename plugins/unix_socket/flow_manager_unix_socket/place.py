"""Where one container's socket stands on disk: a folder, the socket in it, the host's name for it.

Everything is reached through descriptors of folders that nobody else can write to, and nothing here
follows a link. A new socket is made complete under a name of its own and then put in place, so
that at no moment a program meets one that it may not connect to.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flow_manager_core.errors import ChannelError
from flow_manager_unix_socket.private_folder import Unsafe, private_folder

SOCKET_NAME = "flow.sock"
#: What a name ends with until all is ready; sockets keep it as the name they were bound to.
FRESH = ".new"
#: A program in a container has an id of its own: it must be let through folder and socket.
_FOLDER_MODE = 0o755
_SOCKET_MODE = 0o666

Identity = tuple[int, int]


class Place:
    """The names of one container's channel, and what stands there.

    A folder always ends in ``.d`` and the host's name in ``.sock``, so that no two containers'
    names can meet, whatever they are.

    Args:
        root: the private folder, absolute.
        name: the container's; one part of a path.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.folder: Path = root / f"{name}.d"
        self.socket: Path = self.folder / SOCKET_NAME
        self.address: Path = root / f"{name}.sock"
        self._root = root
        self._identity: Identity | None = None

    def bind(self, backlog: int) -> socket.socket:
        """Put a new listening socket in place; what an earlier life left is taken over.

        The folder, which running containers have mounted, stays the same.

        Raises:
            ChannelError: somebody listens there, or the place cannot be used.
        """
        with self._opened(create=True) as root, self._own_folder(root) as folder:
            _refuse_listener(folder, self.address)
            listener = _listen(folder, backlog)
            try:
                self._identity = _put(folder, SOCKET_NAME + FRESH, folder, SOCKET_NAME)
                self._publish(root, folder)
            except BaseException:
                self._identity = None
                listener.close()
                raise
            return listener

    def holds_socket(self) -> bool:
        """Whether the socket that was bound last is still there."""
        return self._identity is not None and _identity(self.socket) == self._identity

    def intact(self) -> bool:
        """Whether that socket and the host's name for it are still there."""
        return self.holds_socket() and (
            _identity(self.address) == self._identity or _leads_to(self.address, self._link)
        )

    def is_served(self) -> bool:
        """Whether somebody listens there, whoever it is: asked by connecting, as at the opening.

        Raises:
            ChannelError: the place cannot be used.
        """
        with suppress(FileNotFoundError), self._opened(create=False) as root:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            folder = os.open(self.folder.name, flags, dir_fd=root)
            try:
                return _is_listener(folder)
            finally:
                os.close(folder)
        return False

    def publish(self) -> None:
        """Make the host's name anew.

        Raises:
            ChannelError: the place cannot be used.
        """
        with self._opened(create=True) as root, self._own_folder(root) as folder:
            self._publish(root, folder)

    def remove(self) -> None:
        """Take away every trace, if there is one.

        Raises:
            ChannelError: something cannot be removed.
        """
        with suppress(FileNotFoundError), self._opened(create=False) as root:
            for name in (self.address.name, self.address.name + FRESH):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root)
            _remove_folder(root, self.folder.name)

    @property
    def _link(self) -> str:
        return f"{self.folder.name}/{SOCKET_NAME}"

    @contextmanager
    def _opened(self, *, create: bool) -> Iterator[int]:
        try:
            with private_folder(self._root, create=create) as root:
                yield root
        except Unsafe as error:
            raise ChannelError(str(error)) from None
        except FileNotFoundError:
            if not create:
                raise
            raise ChannelError(f"{self.address} was removed while it was made") from None
        except OSError as error:
            raise ChannelError(f"{self.address} cannot be used: {error}") from error

    @contextmanager
    def _own_folder(self, root: int) -> Iterator[int]:
        with suppress(FileExistsError):
            os.mkdir(self.folder.name, _FOLDER_MODE, dir_fd=root)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(self.folder.name, flags, dir_fd=root)
        try:
            if os.fstat(folder).st_uid != os.geteuid():
                raise Unsafe(f"{self.folder} belongs to another user")
            os.fchmod(folder, _FOLDER_MODE)
            yield folder
        finally:
            os.close(folder)

    def _publish(self, root: int, folder: int) -> None:
        fresh = self.address.name + FRESH
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=root)
        try:
            os.link(SOCKET_NAME, fresh, src_dir_fd=folder, dst_dir_fd=root, follow_symlinks=False)
        except OSError:
            # Some file systems and sandboxes have no hard links from folder to folder.
            os.symlink(self._link, fresh, dir_fd=root)
        _put(root, fresh, root, self.address.name)


def _listen(folder: int, backlog: int) -> socket.socket:
    """Make a socket under a passing name, let every user connect to it, and listen."""
    fresh = SOCKET_NAME + FRESH
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # By way of the descriptor, the length of the folder's path does not matter.
        listener.bind(f"/proc/self/fd/{folder}/{fresh}")
        with _looked_at(fresh, folder) as found:
            os.chmod(f"/proc/self/fd/{found}", _SOCKET_MODE)
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _put(source: int, fresh: str, target: int, name: str) -> Identity:
    os.rename(fresh, name, src_dir_fd=source, dst_dir_fd=target)
    with suppress(FileNotFoundError):
        # A rename of one link of a file onto another link of it does nothing.
        os.unlink(fresh, dir_fd=source)
    status = os.stat(name, dir_fd=target, follow_symlinks=False)
    return status.st_dev, status.st_ino


def _refuse_listener(folder: int, address: Path) -> None:
    if _is_listener(folder):
        raise ChannelError(f"Another process listens at {address}")


def _is_listener(folder: int) -> bool:
    with suppress(FileNotFoundError), _looked_at(SOCKET_NAME, folder) as found:
        return stat.S_ISSOCK(os.fstat(found).st_mode) and _answers(found)
    return False


def _answers(found: int) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # EAGAIN: somebody listens, but has a full queue.
        return probe.connect_ex(f"/proc/self/fd/{found}") in (0, errno.EAGAIN)


@contextmanager
def _looked_at(name: str, folder: int) -> Iterator[int]:
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield found
    finally:
        os.close(found)


def _identity(path: Path) -> Identity | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _leads_to(path: Path, link: str) -> bool:
    try:
        return os.readlink(path) == link
    except OSError:
        return False


def _remove_folder(root: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=root)
    else:
        os.unlink(name, dir_fd=root)
