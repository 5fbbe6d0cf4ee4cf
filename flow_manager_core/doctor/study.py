"""What one examination knows: the configuration, the chosen providers, the engine's onlooker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from attrs import define, evolve, field

from flow_manager_core.choice import Choice
from flow_manager_core.configuration import Configuration
from flow_manager_core.contracts import Onlooker
from flow_manager_core.findings import NotExamined, Scene, in_thread
from flow_manager_core.models import Container
from flow_manager_core.past import Past
from flow_manager_core.picking import Picked
from flow_manager_core.providers import Provider, ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.sqlite.file import UNREADABLE, look_back

#: Seconds for the state folder, which may be on a disk that hangs; nothing is known of it then.
LOOKING_BACK = 10.0


@define
class Study:
    """Gathers what checks need; each thing is looked at once.

    Args:
        images: that the operator asks about.
        service: the process of the manager that holds the instance, if one does.
        past: what the instance's journal holds; ``None`` where it cannot be read.
        names: of all containers in the state folder's journals; ``None`` where one cannot be read.
        known: see `Scene`.
    """

    configuration: Configuration
    choice: Choice
    picked: Picked
    images: tuple[str, ...] = ()
    service: int | None = None
    past: Past | None = None
    names: frozenset[str] | None = None
    onlooker: Onlooker | None = None
    containers: Sequence[Container] = ()
    known: frozenset[str] | None = None
    _blind: Exception = field(factory=lambda: NotExamined("it was not asked"))

    @classmethod
    async def begun(cls, configuration: Configuration, images: Sequence[str]) -> Study:
        """Choose the providers as a service would, and read what the last one left."""
        configuration = evolve(configuration, settings=_sound(configuration.settings))
        choice = Choice(configuration.host, configuration.settings, configuration.provider_settings)
        study = cls(configuration, choice, await choice.pick(), tuple(images))
        with anyio.move_on_after(LOOKING_BACK):
            await in_thread(study._look_back)
        return study

    @property
    def folder(self) -> Path:
        """The instance's."""
        settings = self.configuration.settings
        return settings.state_dir / "instances" / settings.instance

    @property
    def providers(self) -> list[Provider]:
        """The chosen ones."""
        return list(self.picked.chosen)

    def context(self, provider: Provider) -> ProviderContext:
        """What a provider's checks get."""
        return self.choice.context(provider)

    @property
    def scene(self) -> Scene:
        """What providers' checks are told."""
        return Scene(
            core=self.configuration.settings,
            service=self.service,
            containers=self.containers,
            isolated=self.onlooker is None or self.onlooker.isolated,
            known=self.known,
            images=self.images,
        )

    async def open_eyes(self, stack: AsyncExitStack) -> None:
        """Get the engine's onlooker, for as long as the stack stands.

        It is entered in the stack's own task: what it starts is to end there.
        """
        backend = self.picked.backend
        if backend is None or backend.onlook is None:
            named = f"the backend {backend.name}" if backend else "no backend is chosen, so it"
            self._blind = NotExamined(f"{named} cannot be looked at")
            return
        try:
            self.onlooker = await stack.enter_async_context(backend.onlook(self.context(backend)))
        except Exception as problem:  # noqa: BLE001  # the check of the engine tells of it
            self._blind = problem

    def eyes(self) -> Onlooker:
        """The engine's onlooker.

        Raises:
            NotExamined: there is no backend, or it has none.
            Exception: what it raised instead of being there.
        """
        if self.onlooker is None:
            raise self._blind
        return self.onlooker

    async def look_round(self) -> None:
        """Look at the containers, once the engine is known to answer."""
        eyes = self.eyes()
        containers, names = await eyes.containers(), await eyes.names()
        self.containers = containers
        if self.names is not None:
            self.known = self.names | frozenset(names)

    def _look_back(self) -> None:
        self.service = service_of(self.folder / "lock")
        self.past = _past(self.folder)
        self.names = _names(self.folder.parent)


def service_of(lock: Path) -> int | None:
    """The process that holds an instance's lock, by the kernel's list of locks; see proc(5)."""
    try:
        status = lock.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    wanted = f"{device}:{status.st_ino}"
    for fields in map(str.split, lines):
        if len(fields) == 8 and fields[1] == "FLOCK" and fields[5] == wanted:
            return int(fields[4])
    return None


def _sound(settings: Settings) -> Settings:
    """Put defaults for what cannot be, so that one wrong setting hides nothing else."""
    wrong = {fault.field for fault in settings_faults(settings)}
    return evolve(settings, **{name: getattr(Settings(), name) for name in wrong})


def _names(instances: Path) -> frozenset[str] | None:
    """The names in all instances' journals; ``None``: some cannot be read."""
    try:
        folders = list(instances.iterdir()) if os.path.lexists(instances) else []
    except OSError:
        return None
    pasts = [_past(folder) for folder in folders]
    known = [past for past in pasts if past is not None]
    if len(known) < len(pasts):
        return None
    return frozenset(desired.name for past in known for desired in past.desired.values())


def _past(folder: Path) -> Past | None:
    # Whatever is wrong with it is told by the check of the journal.
    try:
        return look_back(folder)
    except FileNotFoundError:
        return Past({}, {})
    except UNREADABLE:
        return None
