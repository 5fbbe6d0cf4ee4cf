"""Who gets in: the token, the page's origin, the host's name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import aiohttp
import anyio
import pytest
import socketio

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import Access, is_loopback
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"


async def refusal(raw_client: Any, auth: str) -> dict[str, Any]:
    await raw_client.open_websocket()
    await raw_client.send("40" + auth)
    refused: dict[str, Any] = json.loads((await raw_client.receive_until("44"))[2:])
    return refused


async def test_client_with_the_token_is_greeted(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        greeting = await person.hears("connected")
        assert person.names() == ["connected"]
        assert greeting["message"] == "Connected to Flow Manager"
        assert greeting["version"] == "1.2.3"
        assert greeting["backend"] == "small"
        assert greeting["timestamp"].endswith("Z")


async def test_greeting_follows_the_handshake_and_reaches_one_client(
    serving: Any, meeting: Any, raw: Any
) -> None:
    async with serving() as served, meeting(served) as other:
        client = raw(served)
        await client.open_websocket()
        await client.send("40" + json.dumps({"token": TOKEN}))
        assert (await client.receive()).startswith('40{"sid"')
        assert (await client.receive()).startswith('42["connected"')
        await other.ask("echo", 1)
        assert other.names().count("connected") == 1


async def test_crowd_of_refused_clients_fills_no_log(
    serving: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        for _ in range(40):
            await refusal(raw(served), '{"token":"wrong"}')
    told = [r.flow_manager for r in caplog.records if "Client refused" in r.getMessage()]  # type: ignore[attr-defined]
    seconds = 1 + len({int(r.created) for r in caplog.records})
    assert 0 < len(told) <= 5 * seconds
    assert all("wrong" in each["error"] for each in told)


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ("", "auth.token: is missing"),
        ("{}", "auth.token: is missing"),
        ('{"token":null}', "auth.token: is missing"),
        ('{"token":"wrong"}', "auth.token: is wrong"),
        ('{"token":"a token of some lengthx"}', "auth.token: is wrong"),
        ('{"token":"\\ud83d\\ude00"}', "auth.token: is wrong"),
        ('{"token":7}', "auth.token: must be a string, not a number"),
        ('{"token":["a token of some length"]}', "auth.token: must be a string, not a list"),
        ('["token"]', "auth: must be an object, not a list"),
        ('"a token of some length"', "auth: must be an object, not a string"),
        ("true", "auth: must be an object, not a boolean"),
        ('{"token":"a token of some length","events":"all"}', "auth.events: must be a list"),
        ('{"token":"a token of some length","events":[7]}', "auth.events: must be a list"),
        ('{"token":"a token of some length","answers":"none"}', "auth.answers: must be both or"),
        ('{"token":"a token of some length","answers":["ack"]}', "auth.answers: must be both or"),
    ],
)
async def test_client_is_refused_with_the_standard_error(
    serving: Any, raw: Any, auth: str, told: str
) -> None:
    async with serving() as served:
        refused = await refusal(raw(served), auth)
        assert told in refused["message"]
        error = refused["data"]
        assert error["error"] is True
        assert error["error_type"] == "validation_error"
        assert error["details"]["operation"] == "connect"
        assert TOKEN not in json.dumps(refused)


async def test_client_library_gets_a_connect_error(serving: Any, meeting: Any) -> None:
    async with serving() as served:
        told: list[Any] = []
        sio = socketio.AsyncClient(reconnection=False)
        sio.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await sio.connect(served.url, auth={"token": "no"}, transports=["websocket"])
        assert told[0]["data"]["error_type"] == "validation_error"


async def test_requests_of_a_refused_client_go_nowhere(serving: Any, raw: Any) -> None:
    async with serving(SocketIOSettings(connect_timeout=0.3)) as served:
        client = raw(served)
        await refusal(client, "{}")
        await client.send('421["echo",1]')
        await client.ended()
        assert served.gateway.asked == []


async def test_connection_without_a_client_is_closed_in_time(
    serving: Any, raw: Any, meeting: Any
) -> None:
    own = SocketIOSettings(connect_timeout=0.3)
    async with serving(own) as served, meeting(served) as person:
        client = raw(served)
        await client.open_websocket()
        await client.ended()
        polling = raw(served)
        await polling.open_polling()
        # Its connection may be dropped in the middle of a request.
        with anyio.fail_after(5), suppress(aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            while await polling.post("3") == 200:
                await anyio.sleep(0.05)
        assert await person.ask("echo", 1) == {"payload": 1}


async def test_attachments_before_the_token_end_the_connection(serving: Any, raw: Any) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_websocket()
        await client.send('451-["echo",{"_placeholder":true,"num":0}]')
        await client.send(b"x" * 1_000_000)
        await client.ended()


async def test_no_auth_lets_anyone_in_on_loopback(serving: Any, meeting: Any) -> None:
    async with serving(token="", no_auth=True) as served, meeting(served, auth={}) as person:
        assert await person.ask("echo", 1) == {"payload": 1}


@pytest.mark.parametrize(
    ("core", "field"),
    [
        ({"no_auth": True, "host": "0.0.0.0"}, "no_auth"),
        ({"no_auth": True, "host": "::", "token": "t"}, "no_auth"),
        ({"no_auth": True, "host": ""}, "no_auth"),
        ({"no_auth": True, "host": "flows.example"}, "no_auth"),
        ({"token": ""}, "token"),
    ],
)
async def test_unsafe_settings_are_refused(core: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Access(Settings(**core))
    assert [fault.field for fault in caught.value.faults] == [field]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("app.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
async def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


PAGE = "https://app.example"


@pytest.mark.parametrize(
    ("allowed", "origin", "let_in"),
    [
        ((), PAGE, False),
        ((), "null", False),
        ((), None, True),
        ((PAGE,), PAGE, True),
        ((PAGE,), "https://app.example.evil", False),
        ((PAGE,), "http://app.example", False),
        (("*",), PAGE, True),
        (("*",), "null", True),
    ],
)
async def test_page_is_let_in_from_an_allowed_origin_alone(
    serving: Any, raw: Any, allowed: tuple[str, ...], origin: str | None, let_in: bool
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    async with serving(cors_origins=allowed) as served:
        client = raw(served, **headers)
        for path in ("/socket.io/?EIO=4&transport=polling", "/health"):
            async with client.http.get(served.url + path, headers=headers) as response:
                assert response.status == (200 if let_in else 403)
                assert response.headers.get("Access-Control-Allow-Origin") == (
                    origin if let_in else None
                )
                if not let_in:
                    assert "not an allowed origin" in (await response.json())["message"]
        if let_in:
            await client.open_websocket()
            await client.enter()
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.open_websocket()
            assert caught.value.status == 403


async def test_page_at_the_services_own_address_is_a_page_too(serving: Any, raw: Any) -> None:
    async with serving() as served:
        client = raw(served, Origin=served.url)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.open_websocket()
        assert caught.value.status == 403


async def test_forwarded_host_makes_no_page_welcome(serving: Any, raw: Any) -> None:
    async with serving() as served:
        client = raw(served, Origin=PAGE, X_Forwarded_Host="app.example", X_Forwarded_Proto="https")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.open_websocket()


async def test_preflight_of_an_allowed_page_is_answered(serving: Any, raw: Any) -> None:
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with serving(cors_origins=(PAGE,)) as served:
        url = served.url + "/socket.io/?EIO=4&transport=polling"
        async with raw(served).http.options(url, headers=asked) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            assert response.headers["Access-Control-Allow-Headers"] == "content-type"
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
        asked["Origin"] = "https://evil.example"
        async with raw(served).http.options(url, headers=asked) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_page_can_poll(serving: Any, raw: Any) -> None:
    async with serving(cors_origins=(PAGE,)) as served:
        client = raw(served, Origin=PAGE)
        await client.open_polling()
        assert await client.post("40" + json.dumps({"token": TOKEN})) == 200
        received = await client.get()
        assert received[0].startswith("40")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example"]
)
async def test_rebound_name_is_refused_on_loopback(serving: Any, raw: Any, host: str) -> None:
    async with serving() as served:
        client = raw(served, Host=host)
        async with client.http.get(served.url + "/health", headers=client.headers) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.open_websocket()
        assert caught.value.status == 403


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("localhost:1", ()),
        ("127.0.0.1", ()),
        ("[::1]:8000", ()),
        ("Flows.example:443", ("flows.example",)),
        ("anything", ("*",)),
    ],
)
async def test_allowed_host_is_let_in(
    serving: Any, raw: Any, host: str, names: tuple[str, ...]
) -> None:
    async with serving(SocketIOSettings(allowed_hosts=names)) as served:
        client = raw(served, Host=host)
        async with client.http.get(served.url + "/health", headers=client.headers) as response:
            assert response.status == 200


async def test_script_tag_cannot_poll(serving: Any, raw: Any) -> None:
    async with serving(token="", no_auth=True) as served:
        url = served.url + "/socket.io/?EIO=4&transport=polling&j=0"
        async with raw(served).http.get(url) as response:
            assert response.status == 400
