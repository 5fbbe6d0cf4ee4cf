"""What quotes a client's or an operator's own words leaves the secrets in them out."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.requests import CreateContainer
from flow_manager_core.wire import parse_request
from tests.packaging.dists import CORE, PLUGINS

#: Modules that are run, not imported.
PROGRAMS = ("__main__", "shim", "demo_flow")
SECRET = "hunter2-hunter2"
#: Fields of these names hold what nobody may read; so do settings that say so of themselves.
SECRET_FIELDS = {"environment", "password", "secret", "secrets", "token"}


def refusal(**payload: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(CreateContainer, {"image": "python", **payload})
    return caught.value


def test_an_assignment_in_a_variables_place_is_named_without_its_value() -> None:
    error = refusal(environment={f"PASSWORD={SECRET}": "", f"A={SECRET}=x": [1], "B": 2})
    assert [fault.field for fault in error.faults] == [
        "environment.PASSWORD=...",
        "environment.A=...",
        "environment.B",
    ]
    assert SECRET not in f"{error.message} {error.details}"


@pytest.mark.parametrize(
    "image",
    [
        f"https://user:{SECRET}@example.org/image:1",
        f"user:{SECRET}@example.org/image:1",
        f"user:{SECRET}@image",
        f"{SECRET}@example.org/image",
    ],
)
def test_an_image_with_credentials_in_its_name_is_refused_unquoted(image: str) -> None:
    error = refusal(image=image)
    assert [fault.field for fault in error.faults] == ["image"]
    assert "docker login" in error.message
    assert SECRET not in f"{error.message} {error.details}"


@pytest.mark.parametrize(
    "image",
    [
        "python:3.11",
        "example.org:5000/flows/image:1",
        f"image@sha256:{'0a' * 32}",
        f"example.org:5000/image:1@sha256:{'0a' * 32}",
        "/opt/python@3.11/bin/python3",
    ],
)
def test_other_names_of_images_are_taken(image: str) -> None:
    assert parse_request(CreateContainer, {"image": image}).image == image


def our_classes() -> Iterator[type]:
    """Every class of the manager and its plugins whose ``repr`` attrs writes."""
    names = [dist.name.replace("-", "_") for dist in (CORE, *PLUGINS)]
    for package in map(importlib.import_module, names):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] in PROGRAMS or ".testing" in module.name:
                continue
            found = vars(importlib.import_module(module.name)).values()
            classes = (c for c in found if inspect.isclass(c) and attrs.has(c))
            # One that writes its own is taken at its word.
            yield from (c for c in classes if "attrs" in c.__repr__.__code__.co_filename)


def test_no_repr_shows_a_secret_for_a_traceback_may_hold_it() -> None:
    looked_at = set()
    for kind in our_classes():
        for each in attrs.fields(kind):
            secret = each.name in SECRET_FIELDS or each.metadata.get("secret")
            if secret and each.type not in (bool, "bool"):  # whether something is one, is none
                looked_at.add(f"{kind.__name__}.{each.name}")
                assert each.repr is False, f"{kind.__module__}.{kind.__name__}.{each.name}"
    assert {"ContainerSpec.environment", "Settings.token", "RabbitMQSettings.url"} <= looked_at
