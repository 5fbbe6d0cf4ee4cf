"""A flow with state everywhere: it does what it is told, and answers with what it finds."""

import json
import os
import signal
import socket
import struct
import time


def connect():
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["FLOW_SOCKET"])
            return channel
        except OSError:
            channel.close()
            time.sleep(0.02)


def exactly(channel, size):
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def serve(channel):
    while True:
        (size,) = struct.unpack(">I", exactly(channel, 4))
        message = json.loads(exactly(channel, size))
        found = {}
        if message["command"] == "run":
            exec(message["data"], found)
        body = {"command": "result", "data": found.get("result"), "reply_to": message.get("id")}
        raw = json.dumps(body).encode()
        channel.sendall(struct.pack(">I", len(raw)) + raw)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    channel = connect()
    try:
        serve(channel)
    except ConnectionError:
        channel.close()
