"""A hostile flow: raw frames, no SDK; it attacks when the test says so, and floods in a thread.

Beside it lies `hostile_frames.py`, a copy of the attacks that the tests without Docker use as well.
"""

import json
import os
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


def serve(channel):
    lock, flood = threading.Lock(), None
    while True:
        message = receive(channel)
        command, data, key = message["command"], message.get("data"), message.get("id")
        answer = None
        if command == "flood":
            flood = Flood()
            work = (channel, lock, data["body"].encode(), data["rate"])
            threading.Thread(target=flood.run, args=work, daemon=True).start()
        elif command == "calm":
            flood.stopped.set()
            answer = flood.sent
        elif command == "sent":
            answer = flood.sent
        elif command == "attack":
            hostile_frames.ATTACKS[data].act(channel)
        elif command == "print":
            hostile_frames.OUTPUTS[data](sys.stdout.buffer)
        elif command == "descriptors":
            answer = len(os.listdir("/proc/self/fd"))
        if flood:
            flood.may_go.clear()
        with lock:
            send(channel, "result", answer, key)
        if flood:
            flood.may_go.set()


while True:
    with connect() as channel:
        try:
            serve(channel)
        except OSError:
            pass
