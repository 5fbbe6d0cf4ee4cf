"""A flow that answers pings, and misbehaves in every way that is watched for when told to."""

import contextlib
import http.server
import os
import signal
import threading
import time

from flow import connect, receive, send

SICK = "/tmp/sick"
PORT = 8080
held = []
burning = []
shown = {"mute": False, "status": 200}


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(shown["status"])
        self.end_headers()

    def log_message(self, *_):
        pass


def burn():
    pid = os.fork()
    while pid == 0:
        pass
    burning.append(pid)


def rest():
    os.kill(burning[-1], signal.SIGKILL)
    os.waitpid(burning.pop(), 0)


def open_door():
    server = http.server.HTTPServer(("0.0.0.0", PORT), Page)
    held.append(server)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()


def close_door():
    server = held.pop()
    server.shutdown()
    server.server_close()


def write(text):
    with open(SICK, "w") as file:
        file.write(text)


DEEDS = {
    "burn": lambda _: burn(),
    "rest": lambda _: rest(),
    "fill": lambda size: held.append(b"x" * size),
    "free": lambda _: held.clear(),
    "freeze": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "mute": lambda mute: shown.update(mute=mute),
    "sick": write,
    "open": lambda _: open_door(),
    "close": lambda _: close_door(),
    "status": lambda status: shown.update(status=status),
}


def serve(channel):
    while True:
        message = receive(channel)
        command, data, key = message["command"], message.get("data"), message.get("id")
        if command == "ping":
            if not shown["mute"]:
                send(channel, "pong", None, key)
            continue
        DEEDS[command](data)
        send(channel, "done", None, key)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    write("0")
    while True:
        channel = connect()
        with contextlib.suppress(ConnectionError):
            serve(channel)
        channel.close()
        time.sleep(0.02)
