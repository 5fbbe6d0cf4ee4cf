"""What is asked of the engine when a container is made."""

from __future__ import annotations

from typing import Any

import pytest

from flow_manager_core.models import (
    Attachment,
    ContainerSpec,
    CreatePlan,
    Mount,
    PortMapping,
    Resources,
)
from flow_manager_docker.create_arguments import (
    code_dir,
    create_arguments,
    image_faults,
    unsupported,
)
from flow_manager_docker.settings import DockerSettings

SETTINGS = DockerSettings()


def spec(**fields: Any) -> ContainerSpec:
    return ContainerSpec(**{"image": "flows/a:1", "name": "a-flow", **fields})


def body(code: str | None = None, settings: DockerSettings = SETTINGS, **fields: Any) -> Any:
    channel = Attachment({"FLOW_SOCKET": "/run/flow/s"}, (Mount("/host/s", "/run/flow", True),))
    plan = CreatePlan(spec=spec(**fields), labels={"a": "b"}, attachment=channel)
    return create_arguments(plan, settings, code)


def test_a_plan_becomes_the_engines_request() -> None:
    made = body(
        environment={"A": "1", "FLOW_SOCKET": "forged"},
        volumes=(Mount("/srv/d", "/data"),),
        ports=(PortMapping(80, 8080), PortMapping(53, 0, "udp")),
        command=("x", "y"),
        user="1000",
        network="net",
        working_dir="/w",
        resources=Resources(memory=2**26, cpus=0.5, pids=9),
        stop_timeout=1.2,
    )
    assert made["Env"] == ["A=1", "FLOW_SOCKET=/run/flow/s"]
    assert made["Labels"] == {"a": "b"}
    assert (made["Cmd"], made["User"], made["WorkingDir"]) == (["x", "y"], "1000", "/w")
    assert made["StopTimeout"] == 2
    host = made["HostConfig"]
    assert [(m["Source"], m["Target"], m["ReadOnly"]) for m in host["Mounts"]] == [
        ("/srv/d", "/data", False),
        ("/host/s", "/run/flow", True),
    ]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "0"}],
    }
    assert (host["Memory"], host["MemorySwap"]) == (2**26, 2**26)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 9)
    assert host["NetworkMode"] == "net"


def test_containers_are_hardened_unless_the_operator_says_otherwise() -> None:
    host = body()["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert "NET_RAW" not in host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["PidsLimit"], host["Init"], host["OomScoreAdj"]) == (512, True, 500)
    assert (host["Privileged"], host["ReadonlyRootfs"]) == (False, False)
    assert (host["IpcMode"], host["CgroupnsMode"]) == ("private", "private")
    assert not {"PidMode", "UTSMode", "UsernsMode", "Devices", "Runtime"} & host.keys()
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    loose = DockerSettings(
        cap_drop=(),
        cap_add=(),
        no_new_privileges=False,
        init=False,
        publish_host="",
        oom_score_adj=0,
        read_only=True,
        pids_limit=0,
    )
    host = body(settings=loose, ports=(PortMapping(80, 0),))["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == ([], [], [])
    assert (host["Init"], host["ReadonlyRootfs"]) == (False, True)
    assert (host["OomScoreAdj"], host["PidsLimit"]) == (0, 0)
    assert host["PortBindings"]["80/tcp"][0]["HostIp"] == ""


def test_what_the_client_leaves_out_is_left_to_the_image() -> None:
    assert not {"Cmd", "User", "WorkingDir"} & body().keys()
    assert "NetworkMode" not in body()["HostConfig"]


@pytest.mark.parametrize(
    ("asked", "image", "chosen"),
    [
        ("/code/", "/img", "/code"),
        (None, "/img", "/img"),
        (None, "", "/app"),
        (None, "/", "/app"),
        ("//x/../y", "", "/y"),
    ],
)
def test_code_goes_to_the_working_directory(asked: str | None, image: str, chosen: str) -> None:
    assert code_dir(spec(working_dir=asked), image) == chosen


def test_the_code_folder_is_kept_in_a_label_and_becomes_the_working_directory() -> None:
    made = body("/app")
    assert made["Labels"]["flow-manager.code-dir"] == made["WorkingDir"] == "/app"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": "a"}, "name"),
        ({"image": "flows/a@sha256:xyz"}, "image"),
        ({"image": "flows/a@"}, "image"),
        ({"image": "a b"}, "image"),
        ({"image": f"reg.example:5000/flows/a:1@sha256:{'0' * 64}"}, None),
        ({"image": f"sha256:{'a' * 64}"}, None),
        ({"network": "host"}, "network"),
        ({"network": "container:other"}, "network"),
        ({"code_path": "/c", "working_dir": "/"}, "working_dir"),
        ({"code_path": "/c", "working_dir": "/w", "volumes": (Mount("/s", "/w/d"),)}, "volumes"),
        ({"code_path": "/c", "working_dir": "/w", "volumes": (Mount("/s", "/w/"),)}, "volumes"),
        ({"working_dir": "/w", "volumes": (Mount("/s", "/w/d"),)}, None),
        ({"code_path": "/c", "working_dir": "/w", "volumes": (Mount("/s", "/ww"),)}, None),
        ({"network": "mine"}, None),
    ],
)
def test_what_docker_cannot_or_may_not_do_is_named(fields: Any, fault: str | None) -> None:
    found = [f.field for f in unsupported(spec(**fields), SETTINGS)]
    assert found == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("settings", "fields", "fault"),
    [
        ({}, {"resources": Resources(pids=513)}, "resources.pids"),
        ({}, {"resources": Resources(pids=512)}, None),
        ({"pids_limit": 0}, {"resources": Resources(pids=513)}, None),
        ({"networks": ("mine",)}, {"network": "other"}, "network"),
        ({"networks": ("mine",)}, {"network": "mine"}, None),
        ({"networks": ("mine",)}, {"network": "none"}, None),
        ({"networks": ("mine",)}, {}, None),
        ({"read_only": True}, {"code_path": "/c"}, "code_path"),
    ],
)
def test_a_client_asks_for_no_more_than_the_operators_settings_allow(
    settings: Any, fields: Any, fault: str | None
) -> None:
    found = [f.field for f in unsupported(spec(**fields), DockerSettings(**settings))]
    assert found == ([fault] if fault else [])


def test_an_operator_may_allow_the_hosts_network() -> None:
    assert not unsupported(spec(network="host"), DockerSettings(allow_host_network=True))


def test_an_image_with_a_volume_in_the_code_folder_is_named() -> None:
    assert [f.field for f in image_faults(spec(), "/app", ["/app/data"])] == ["working_dir"]
    assert not image_faults(spec(), "/app", ["/data"])
