"""What stops the start, what does not, and what nobody gets to read."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import aio_pika
import attrs
import pytest
import trio

from flow_manager_core import PluginHost
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.findings import Finding, Scene
from flow_manager_core.log import get_log
from flow_manager_core.providers import FrontendProvider, ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.sources import Sources
from flow_manager_rabbitmq import RabbitMQSettings, plugin
from flow_manager_rabbitmq.frontend import serve
from plugins.rabbitmq.tests.amqp_client import amqp_client

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[1] / "README.md"


async def refusal(managing: Any, **own: Any) -> str:
    """Fail to start; say why."""
    with pytest.raises(ConfigurationError) as caught:
        async with managing(**own):
            raise AssertionError("it started")
    [fault] = caught.value.faults
    assert fault.field == "rabbitmq.url"
    return fault.message


async def test_a_wrong_password_refuses_the_start_and_is_not_repeated(
    rabbitmq: Any, managing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = await refusal(managing, url=rabbitmq.url.replace(rabbitmq.password, "wrong-secret"))
    assert "refuses the user or the password" in told
    assert "wrong-secret" not in told + caplog.text


async def test_a_missing_virtual_host_refuses_the_start(rabbitmq: Any, managing: Any) -> None:
    assert "virtual host 'nowhere'" in await refusal(managing, url=f"{rabbitmq.url}nowhere")


async def test_an_exchange_of_another_kind_refuses_the_start(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    name = f"flow-manager.{instance}.events"
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.FANOUT)
        assert name in await refusal(managing)
        await exchange.delete()


async def test_tls_is_spoken_with_whom_the_certificate_names(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    url = f"{rabbitmq.tls_url}?cafile={rabbitmq.certificate}"
    async with managing(url=url), amqp_client(rabbitmq.url, instance) as client:
        assert (await client.request("list_containers", {}))[0] == "container_list"


async def test_a_certificate_that_nobody_trusts_refuses_the_start(
    rabbitmq: Any, managing: Any
) -> None:
    assert "certificate" in await refusal(managing, url=rabbitmq.tls_url)


async def test_certificates_that_are_not_there_refuse_the_start(
    rabbitmq: Any, managing: Any
) -> None:
    told = await refusal(managing, url=f"{rabbitmq.tls_url}?cafile=/no/such/file")
    assert "certificates cannot be used" in told


async def test_the_password_is_in_no_log_line_and_no_address(
    rabbitmq: Any, managing: Any, instance: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with managing() as manager, amqp_client(rabbitmq.url, instance) as client:
        await client.request("list_containers", {})
        assert rabbitmq.password not in repr(manager.addresses)
        assert f"127.0.0.1:{rabbitmq.port}" in manager.addresses[0]
    ours = [r for r in caplog.records if r.name.startswith(("flow_manager", "aio_pika", "aiormq"))]
    assert ours
    assert rabbitmq.password not in caplog.text


def test_the_url_is_a_secret_of_the_settings() -> None:
    settings = RabbitMQSettings(url="amqp://me:hidden@host/")
    assert "hidden" not in repr(settings)
    assert attrs.fields(RabbitMQSettings).url.metadata["secret"] is True


@pytest.mark.parametrize(
    "url",
    ["http://host/", "amqp://", "amqp://me:hidden@host:99999/", "amqp://me:hidden@/", "x", ""],
)
def test_a_url_that_names_no_broker_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="url must be amqp://") as caught:
        RabbitMQSettings(url=url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefetch", "0"),
        ("prefetch", "1001"),
        ("heartbeat", "0"),
        ("call_timeout", "0"),
        ("reconnect_delay", "0"),
        ("max_command_bytes", "0"),
        ("url", "http://me:hidden@host/"),
        ("commands_queue", "x" * 256),
    ],
)
def test_a_setting_out_of_bounds_is_named_with_its_section(name: str, value: str) -> None:
    environ = {f"FLOW_MANAGER_RABBITMQ_{name.upper()}": value}
    provider = PluginHost(installed=False, plugins=[plugin]).choose(FrontendProvider, "rabbitmq")
    sources = Sources.read({}, environ)
    sources.providers([provider])
    with pytest.raises(ConfigurationError, match=name) as caught:
        sources.check()
    assert caught.value.faults[0].field.startswith("rabbitmq")
    assert "hidden" not in str(caught.value)


def test_trio_is_refused_by_name() -> None:
    async def start() -> None:
        context = ProviderContext(RabbitMQSettings(), Settings(), get_log("rabbitmq"))
        with pytest.raises(ConfigurationError, match="asyncio alone"):
            async with serve(context, None):  # type: ignore[arg-type]
                pass

    trio.run(start)


def test_every_setting_is_in_the_readme() -> None:
    table = README.read_text().split("## Settings")[1]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert documented == {a.name for a in attrs.fields(RabbitMQSettings)}


async def examined(instance: str, url: str) -> Finding:
    """Ask as the doctor does."""
    core, own = Settings(instance=instance), RabbitMQSettings(url=url)
    context = ProviderContext(settings=own, core=core, log=get_log("test"))
    (finding,) = await plugin.BROKER.look(context, Scene(core=core))
    return finding


async def test_the_doctor_is_let_in_and_declares_nothing(rabbitmq: Any, instance: str) -> None:
    finding = await examined(instance, rabbitmq.url)
    assert (finding.severity, finding.remedy) == ("ok", "")
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue(f"flow-manager.{instance}.commands", passive=True)


async def test_the_doctor_names_a_wrong_password_and_does_not_repeat_it(
    rabbitmq: Any, instance: str
) -> None:
    url = rabbitmq.url.replace(rabbitmq.password, "wrong-secret")
    finding = await examined(instance, url)
    assert finding.severity == "error"
    assert "refuses the user or the password" in finding.found
    assert "the password" in finding.remedy
    assert "wrong-secret" not in f"{finding}"
