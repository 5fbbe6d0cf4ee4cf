"""A flow that speaks the durable protocol, from its description alone: nothing but Python.

It does each message once, by writing its data to the file that DONE names, and acknowledges it
after that. It sends what the file that SAY names has, line by line, until that is stored. Both
files, and what it has seen, are its memory through its own deaths; so it can be killed anywhere.
Between doing and acknowledging it waits SLOW seconds.
"""

import contextlib
import json
import os
import socket
import struct
import time

DONE, SAY = os.environ["DONE"], os.environ["SAY"]
SLOW = float(os.environ.get("SLOW", "0"))


def connect():
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["FLOW_SOCKET"])
            return channel
        except OSError:
            channel.close()
            time.sleep(0.02)


def send(stream, command, data, **more):
    body = json.dumps({"command": command, "data": data, **more}).encode()
    stream.write(struct.pack(">I", len(body)) + body)


def frames(stream):
    while True:
        stream.flush()
        header = stream.read(4)
        if len(header) < 4:
            return
        yield json.loads(stream.read(struct.unpack(">I", header)[0]))


def memory():
    """The epoch and the last number that was done: the last whole line of DONE."""
    try:
        with open(DONE) as file:
            lines = [line for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return "", 0
    epoch, number, _ = lines[-1].split(" ", 2) if lines else ("", "0", "")
    return epoch, int(number)


def said():
    with open(SAY) as file:
        return [json.loads(line) for line in file]


def serve(stream):
    epoch, seen = memory()
    durable = {"source": "flow", "epoch": epoch, "seen": seen}
    send(stream, "hello", {"protocol": 2, "heartbeat": True, "durable": durable})
    sent = 0
    for frame in frames(stream):
        command, data = frame["command"], frame["data"]
        if command == "welcome":
            if data["epoch"] != epoch:
                epoch, seen = data["epoch"], 0
            sent = stored = data["stored"]
            window = data["window"]
        elif command == "ack":
            stored = data["seq"]
        elif command == "ping":
            send(stream, "pong", None, reply_to=frame["id"])
        elif "seq" in frame:
            if frame["seq"] > seen:
                seen = frame["seq"]
                with open(DONE, "a") as file:
                    file.write(f"{epoch} {seen} {json.dumps(data)}\n")
            time.sleep(SLOW)
            send(stream, "ack", {"epoch": epoch, "seq": seen})
        lines = said()
        while sent < min(len(lines), stored + window):
            sent += 1
            send(stream, "said", lines[sent - 1], seq=sent)


while True:
    with connect() as channel, channel.makefile("rwb") as stream:
        with contextlib.suppress(OSError):
            serve(stream)
