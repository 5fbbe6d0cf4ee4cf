"""A frontend of one's own, over a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, assert_type

from flow_manager_core import FlowManager, FrontendProvider, ProviderContext
from flow_manager_core.contracts import Frontend, Gateway, Position, Selection, Session
from flow_manager_core.errors import SystemFault
from flow_manager_core.events import Event
from flow_manager_core.models import Answer, Client


class MyFrontend(Frontend):
    def __init__(self, address: str) -> None:
        self.addresses = [address]


@asynccontextmanager
async def serve(context: ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
    session = gateway.session(Client("mine", "1"))
    assert_type(session, Session)
    assert_type(session.listen(Selection(events=frozenset({"gap"}))), Position)
    assert_type(gateway.beginning, Position)
    answer = await session.answer("list_containers", {})
    assert_type(answer, Answer)
    assert_type(answer.body, Mapping[str, Any])
    assert_type(gateway.version, str)
    assert_type(gateway.backend_name, str)
    assert_type(gateway.position, Position)
    assert_type(await gateway.health(), Mapping[str, Any])
    assert_type(gateway.error_body(SystemFault("full")), Mapping[str, Any])
    async with gateway.subscribe(since=gateway.beginning, selection=Selection()) as events:
        async for event in events:
            assert_type(event, Event)
            assert_type(gateway.event_body(event), Mapping[str, Any])
            assert_type(gateway.event_json(event), bytes)
            assert_type(gateway.selects(Selection(), event), bool)
    yield MyFrontend(f"{context.core.host}:{context.core.port}")


PROVIDER = FrontendProvider(name="mine", factory=serve)


def as_gateway(manager: FlowManager) -> Gateway:
    return manager


@asynccontextmanager
async def without_gateway(_context: ProviderContext) -> AsyncIterator[Frontend]:
    yield Frontend()


def mistakes(gateway: Gateway) -> None:
    FrontendProvider(name="m", factory=without_gateway)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    gateway.error_body(ValueError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    gateway.version = "2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
