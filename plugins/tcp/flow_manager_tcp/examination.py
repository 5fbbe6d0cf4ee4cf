"""What the doctor asks of the TCP transport: its port."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.findings import Check, Finding, NotExamined, Scene, blocking
from flow_manager_core.port_check import examine_port
from flow_manager_core.providers import ProviderContext
from flow_manager_tcp.place import PORT_FILE, folder_of
from flow_manager_tcp.private_files import PrivateFiles, Unsafe
from flow_manager_tcp.settings import TcpSettings


def port(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Whether flows can be listened for."""
    settings: TcpSettings = context.settings
    number = settings.port or _kept(context)
    names = ("tcp.host", "tcp.port")
    return examine_port(settings.host, number, settings=names, service=scene.service)


def _kept(context: ProviderContext) -> int:
    """The port that an earlier life chose; 0 where none did."""
    try:
        found = PrivateFiles(folder_of(context.core)).read(PORT_FILE)
    except FileNotFoundError:
        return 0
    except (Unsafe, OSError) as problem:
        raise NotExamined(f"the port that was chosen cannot be read: {problem}") from None
    return int(found) if found and found.isdecimal() else 0


CHECKS = (
    Check(name="tcp-port", asks="can flows be listened for on the port", look=blocking(port)),
)
