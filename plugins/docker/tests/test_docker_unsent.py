"""Whether the engine can have got a call that failed."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    ProtocolError,
    ReadTimeoutError,
)

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.models import Container
from flow_manager_core.settings import Settings
from flow_manager_docker.client import UnusableHost
from flow_manager_docker.errors_map import Subject, translate
from plugins.docker.tests.workshop import Workshop, clear, until
from tests.support.engine_proxy import EngineProxy
from tests.support.engine_relay import Fault

pytestmark = pytest.mark.anyio

ANY_POOL: Any = None


def wrapped(reason: Exception) -> requests.ConnectionError:
    return requests.ConnectionError(MaxRetryError(ANY_POOL, "/", reason))


@pytest.mark.parametrize(
    ("error", "unsent", "told"),
    [
        (
            wrapped(NameResolutionError("h", ANY_POOL, socket.gaierror(-2, "Name not known"))),
            True,
            "Failed to resolve",
        ),
        (
            requests.ConnectTimeout(MaxRetryError(ANY_POOL, "/", ConnectTimeoutError("late"))),
            True,
            "did not answer in time",
        ),
        (UnusableHost("DOCKER_HOST cannot be used: x"), True, "DOCKER_HOST cannot be used"),
        (
            requests.ReadTimeout(ReadTimeoutError(ANY_POOL, "/", "late")),
            False,
            "did not answer in time",
        ),
        (
            requests.ConnectionError(ProtocolError("Aborted", ConnectionResetError(104, "Reset"))),
            False,
            "Reset",
        ),
        (
            requests.ConnectionError(ProtocolError("Aborted", BrokenPipeError(32, "Broken"))),
            False,
            "Broken",
        ),
    ],
)
def test_only_a_call_without_a_connection_is_unsent(
    error: Exception, unsent: bool, told: str
) -> None:
    found = translate(error, Subject())
    assert isinstance(found, EngineUnavailable)
    assert found.unsent is unsent
    assert told in found.message


async def list_fails(shop: Workshop) -> EngineUnavailable:
    async with shop.open() as backend:
        with pytest.raises(EngineUnavailable) as caught:
            await backend.list()
    return caught.value


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:x", "garbage://", "tcp://127.0.0.1:1"])
async def test_an_address_without_an_engine_gets_nothing(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert (await list_fails(Workshop("any"))).unsent


@pytest.mark.docker
async def test_a_call_after_the_engine_went_is_unsent(shop: Workshop, proxy: EngineProxy) -> None:
    async with shop.open() as backend:
        await backend.list()
        proxy.refuse()
        with pytest.raises(EngineUnavailable) as caught:
            await backend.list()
        assert caught.value.unsent


@pytest.mark.docker
async def test_a_call_over_a_kept_connection_that_breaks_may_have_arrived(
    shop: Workshop, proxy: EngineProxy
) -> None:
    async with shop.open() as backend:
        await backend.list()
        proxy.rule("/containers/json", Fault.CUT_REPLY)
        with pytest.raises(EngineUnavailable) as caught:
            await backend.list()
        assert not caught.value.unsent


@pytest.mark.docker
@pytest.mark.parametrize("fault", [Fault.LOSE_REPLY, Fault.CUT_REPLY])
async def test_a_create_whose_reply_is_lost_may_have_been_carried_out(
    shop: Workshop, proxy: EngineProxy, fault: Fault
) -> None:
    rule = proxy.rule("POST .*/containers/create", fault)
    core = Settings(instance=shop.core.instance, request_timeout=2.0)
    async with shop.open(core) as backend:
        with pytest.raises(EngineUnavailable) as caught:
            await backend.create(shop.plan("a"))
        assert not caught.value.unsent
        assert rule.hits == 1
        await until(backend.list)
        await clear(backend)


@pytest.mark.docker
async def test_a_create_that_cannot_be_looked_at_was_sent_all_the_same(
    shop: Workshop, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.open() as backend:
        look = backend.inspect

        async def look_too_late(container_id: str) -> Container:
            proxy.refuse()
            return await look(container_id)

        monkeypatch.setattr(backend, "inspect", look_too_late)
        with pytest.raises(EngineUnavailable, match="No such file") as caught:
            await backend.create(shop.plan("a"))
        assert not caught.value.unsent
        proxy.restore()
        assert len(await backend.list()) == 1
        await clear(backend)
