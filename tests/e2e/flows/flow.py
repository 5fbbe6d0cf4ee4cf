"""The flow of the end-to-end tests: the channel from the contract alone, nothing but Python."""

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time

VERSION = 1


def connect():
    while True:
        try:
            return dial(os.environ["FLOW_SOCKET"])
        except OSError:
            time.sleep(0.02)


def dial(address):
    tcp = address.startswith("tcp://")
    channel = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
    try:
        if not tcp:
            channel.connect(address)
            return channel
        host, _, port = address[len("tcp://") :].rpartition(":")
        channel.connect((host, int(port)))
        send(channel, "auth", {"secret": os.environ["FLOW_SECRET"]})
        if receive(channel)["command"] != "welcome":
            raise ConnectionRefusedError
        return channel
    except BaseException:
        channel.close()
        raise


def send(channel, command, data=None, reply_to=None):
    body = {"command": command, "data": data}
    if reply_to is not None:
        body["reply_to"] = reply_to
    raw = json.dumps(body).encode()
    channel.sendall(struct.pack(">I", len(raw)) + raw)


def exactly(channel, size):
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def receive(channel):
    (size,) = struct.unpack(">I", exactly(channel, 4))
    return json.loads(exactly(channel, size))


def serve(channel):
    while True:
        message = receive(channel)
        command, data, key = message["command"], message.get("data"), message.get("id")
        if command == "echo":
            send(channel, "result", data, key)
        elif command == "info":
            info = {"pid": os.getpid(), "version": VERSION, "files": sorted(os.listdir("."))}
            info["environment"] = dict(os.environ)
            send(channel, "result", info, key)
        elif command == "say":
            send(channel, "said", data)
        elif command == "print":
            print(data, flush=True)
            print(data, file=sys.stderr, flush=True)
        elif command == "write":
            with open(data["path"], "w") as file:
                file.write(data["text"])
            send(channel, "result", None, key)
        elif command == "exit":
            print("leaving with", data, flush=True)
            os._exit(data)
        elif command == "leave":
            send(channel, "leaving", time.time_ns())
            os._exit(data)
        elif command == "kill":
            os.kill(os.getpid(), data)
        elif command == "drop":
            return
        elif command == "raw":
            channel.sendall(bytes.fromhex(data))
        # "silence" and all else: no answer


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("flow started", flush=True)
    while True:
        channel = connect()
        with contextlib.suppress(ConnectionError):
            serve(channel)
        channel.close()
