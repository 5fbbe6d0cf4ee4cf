"""What a create must be before the engine is asked, and what the engine must have made of it."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread

from flow_manager_core.contracts import CodeStore, HostPaths, ImagePuller
from flow_manager_core.errors import EngineError, InvalidRequest
from flow_manager_core.models import (
    Attachment,
    Container,
    ContainerSpec,
    CreatePlan,
    Fault,
    PullPolicy,
)
from flow_manager_core.operations.vetting import host_rules
from flow_manager_core.paths import checked_volumes, code_path_faults
from flow_manager_core.services import Services


async def checked_spec(
    services: Services, spec: ContainerSpec, *, code_is_here: bool = True
) -> ContainerSpec:
    """Return a spec with the volumes' real sources.

    Args:
        code_is_here: whether `code_path` is a folder of this host's; else it says that there is
            code.

    Raises:
        InvalidRequest: with all that cannot be.
    """
    faults = [*services.backend.unsupported(spec), *services.transport.unsupported(spec.name)]
    name = services.backend_name
    if spec.pull is not PullPolicy.NEVER and not isinstance(services.backend, ImagePuller):
        faults.append(Fault("pull", f"not supported by the {name} backend"))
    if spec.code_path is not None and not isinstance(services.backend, CodeStore):
        faults.append(Fault("code_path", f"not supported by the {name} backend"))
    if spec.volumes or spec.code_path is not None:
        rules = await host_rules(services)
        spec, told = await to_thread.run_sync(checked_volumes, spec, rules)
        faults += told
        if spec.code_path is not None and code_is_here:
            faults += await to_thread.run_sync(code_path_faults, Path(spec.code_path), rules)
    if faults:
        raise InvalidRequest(sorted(set(faults), key=lambda fault: fault.field))
    return spec


def check_targets(spec: ContainerSpec, attachment: Attachment) -> None:
    """Keep a client's volumes away from where a transport puts the channel.

    Raises:
        InvalidRequest: one is there.
    """
    taken = [Path(mount.target) for mount in attachment.mounts]
    faults = [
        Fault(f"volumes.{mount.source}", f"{mount.target} is kept for the channel")
        for mount in spec.volumes
        for own in taken
        if own == Path(mount.target) or own in Path(mount.target).parents
    ]
    if faults:
        raise InvalidRequest(faults)


def check_made(services: Services, plan: CreatePlan, container: Container) -> None:
    """Hold what the engine has made against what it was asked for.

    Raises:
        EngineError: it has mounted something else.
    """
    if not isinstance(services.backend, HostPaths):
        return
    asked = {mount.target: mount for mount in (*plan.spec.volumes, *plan.attachment.mounts)}
    made = {mount.target: mount for mount in container.mounts}
    # An engine in a machine of its own shows the host's folders below one of that machine's.
    wrong = asked.keys() ^ made.keys() or {
        target
        for target, mount in asked.items()
        if made[target].read_only is not mount.read_only
        or not made[target].source.endswith(mount.source)
    }
    if wrong:
        told = ", ".join(sorted(wrong))
        raise EngineError(f"The engine did not mount as it was asked to: {told}")
