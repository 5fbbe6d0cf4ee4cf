"""What the doctor asks of the broker: whether it is there and lets us in. Nothing is declared."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.findings import Finding, Scene, error, fine
from flow_manager_core.providers import ProviderContext
from flow_manager_rabbitmq.address import Places
from flow_manager_rabbitmq.calls import BrokerLost
from flow_manager_rabbitmq.line import BrokerRefused, Line


async def broker(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Connect, and leave again."""
    places = Places.of(context.settings, context.core.instance)
    line = Line(places, context.settings)
    try:
        await line.greet()
    except BrokerRefused as refusal:
        remedy = "Check the user, the password and the virtual host in rabbitmq.url"
        return [error(f"{places.shown} refuses us: {refusal}", remedy)]
    except BrokerLost as loss:
        remedy = "Check that the broker runs, and that rabbitmq.url names it"
        return [error(f"{places.shown} does not answer: {loss}", remedy)]
    finally:
        await line.close()
    return [fine(places.shown)]
