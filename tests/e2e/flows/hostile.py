"""A hostile flow: raw frames, no SDK; it attacks when the test says so, and floods in a thread.

Beside it lies `hostile_frames.py`, a copy of the attacks that the tests without Docker use as well.
"""

import contextlib
import json
import socket
import struct
import sys
import threading
import time

import hostile_frames
from flow import connect, receive, send


class Flood:
    """Sends the same frames again and again, at most so many a second."""

    def __init__(self):
        self.stopped = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()
        self.sent = 0
        self.seconds = 0.0

    def begin(self, channel, *work):
        # What the kernel keeps has to be read before an answer is: with less of it a test is quick.
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        work = (channel, *work)
        self.thread = threading.Thread(target=self.run, args=work, daemon=True)
        self.thread.start()

    def end(self):
        self.stopped.set()
        self.thread.join()

    def run(self, channel, lock, body, rate):
        batch = max(1, rate // 100)
        piece = (struct.pack(">I", len(body)) + body) * batch
        begun = time.monotonic()
        while not self.stopped.is_set():
            self.may_go.wait()  # a lock alone would go to this thread again and again
            with lock:
                channel.sendall(piece)
            self.sent += batch
            ahead = begun + self.sent / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        self.seconds = time.monotonic() - begun


def twice(channel):
    """Connect once more; the newest connection wins."""
    with connect() as second:
        send(second, "second")
        second.recv(1)


def thousand(channel):
    """Connect a thousand times, with fifty open at a time."""
    held = []
    for _ in range(1000):
        held.append(connect())
        if len(held) == 50:
            for one in held:
                one.close()
            held = []


def deaf(channel):
    """Read nothing for a while."""
    time.sleep(1.5)


OWN = {"two connections": twice, "a thousand connections": thousand, "never reads": deaf}


def attack(channel, name):
    act = OWN.get(name)
    if act is None:
        act = hostile_frames.ATTACKS[name].act
    act(channel)


def serve(channel):
    lock, flood = threading.Lock(), None
    while True:
        message = receive(channel)
        command, data, key = message["command"], message.get("data"), message.get("id")
        answer = None
        if command == "flood":
            flood = Flood()
            work = (channel, lock, data["body"].encode(), data["rate"])
            flood.begin(*work)
        elif command == "calm":
            flood.end()
            answer = {"sent": flood.sent, "seconds": flood.seconds}
        elif command == "attack":
            attack(channel, data)
            continue
        elif command == "print":
            hostile_frames.OUTPUTS[data](sys.stdout.buffer)
        elif command == "send":
            body = json.dumps(data).encode()
            channel.sendall(struct.pack(">I", len(body)) + body)
        if key is None:
            continue
        if flood:
            flood.may_go.clear()
        with lock:
            send(channel, "result", answer, key)
        if flood:
            flood.may_go.set()


while True:
    with connect() as channel:
        with contextlib.suppress(OSError):
            serve(channel)
