"""A flow, with the SDK's decorators."""

from __future__ import annotations

from typing import Any, assert_type

from flow_manager_sdk import BadFrame, Channel, Flow, FlowError, Message, NotConnected

flow = Flow(workers=2)


@flow.on("add")
def add(numbers: list[int]) -> int:
    return sum(numbers)


@flow.on("greet")
def greet(data: dict[str, str], message: Message) -> str:
    assert_type(message.command, str)
    assert_type(message.id, str | None)
    return f"Hello, {data['name']}!"


@flow.on_connected
def hello() -> None:
    flow.send("hello", {"ready": True}, timeout=5)


# The decorators leave a function as it was.
assert_type(add([1, 2]), int)
assert_type(greet({"name": "Ada"}, Message("greet")), str)


def by_hand() -> Any:
    try:
        with Channel() as channel:
            channel.send("hello")
            message = channel.receive()
            assert_type(channel.path, str)
            return message
    except (BadFrame, NotConnected) as error:
        failure: FlowError = error
        return failure


add("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
flow.on(add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
flow.on("shout")("loud")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
flow.send(data=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Flow(threads=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
