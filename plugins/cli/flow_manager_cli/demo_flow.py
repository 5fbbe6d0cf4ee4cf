"""The flow of ``flow-manager demo``: the whole channel protocol with nothing but Python."""

import json
import os
import socket
import struct
from typing import Any, BinaryIO


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    channel.sendall(struct.pack(">I", len(body)) + body)


def receive(stream: BinaryIO) -> Any:
    header = stream.read(4)
    if len(header) < 4:
        raise SystemExit(0)
    return json.loads(stream.read(struct.unpack(">I", header)[0]))


channel = socket.socket(socket.AF_UNIX)
channel.connect(os.environ["FLOW_SOCKET"])
stream = channel.makefile("rb")
while True:
    message = receive(stream)
    if message["command"] == "crash":
        print("About to crash, as asked", flush=True)
        os._exit(3)
    greeting = f"Hello, {message['data']['name']}! This is process {os.getpid()}."
    send(channel, {"command": "result", "data": greeting, "reply_to": message["id"]})
