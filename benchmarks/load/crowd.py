"""All the clients of one process, and what they measure together."""

from __future__ import annotations

import json
import math
import select
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.load.connection import PATIENCE, Connection, text_frame

#: The one acknowledgement that each client waits for.
_ANSWER = b"431["
_TOLD = b'42["message_received"'
#: In what a flow says at the end of a paced burst.
_OVER = b'"command":"over"'


class Crowd:
    """Clients that are in, with the kernel's list of who has something to read.

    Args:
        reads: whether they read at all.
    """

    def __init__(
        self, port: int, auth: Mapping[str, Any], count: int, *, greeted: bool, reads: bool = True
    ) -> None:
        self._stack = ExitStack()
        self.poll: Any = self._stack.enter_context(select.epoll())
        self._by_number: dict[int, Connection] = {}
        for _ in range(count):
            connection = Connection(port, auth, greeted=greeted)
            self._stack.callback(connection.socket.close)
            self._by_number[connection.socket.fileno()] = connection
            if reads:
                self.poll.register(connection.socket, select.EPOLLIN)
        self.clients: Sequence[Connection] = list(self._by_number.values())

    def close(self) -> None:
        """Close all connections."""
        self._stack.close()

    def arrivals(self) -> Iterator[tuple[Connection, list[bytes]]]:
        """Wait until something arrives; yield each client that has something, and its packets.

        Raises:
            TimeoutError: nothing came for a long while.
        """
        ready = self.poll.poll(PATIENCE)
        if not ready:
            raise TimeoutError(f"nothing arrived for {PATIENCE} s")
        for number, _ in ready:
            connection = self._by_number[number]
            yield connection, connection.packets()

    def round_trips(
        self, payload: Mapping[str, Any], mark: str, seconds: float = math.inf
    ) -> dict[str, Any]:
        """Each client asks, and asks again as soon as it has its acknowledgement.

        Args:
            mark: what every answer must contain.
            seconds: for so long; left out: until a paced burst of messages is over.

        Returns:
            How many ended in that time, in `count` and in `rate` a second, and in seconds the
            median and the 99th percentile of all.
        """
        request, marked = _request(payload), mark.encode()
        times, count = [], 0
        now = begun = time.monotonic()
        end = begun + seconds
        asked = dict.fromkeys(self.clients, begun)
        for client in self.clients:
            client.send(request)
        while asked:
            for client, packets in self.arrivals():
                now = time.monotonic()
                for packet in packets:
                    if packet.startswith(_ANSWER):
                        _require(marked, packet)
                        times.append(now - asked.pop(client))
                        if now < end:
                            count += 1
                            asked[client] = now
                            client.send(request)
                    elif packet.startswith(_TOLD) and _OVER in packet:
                        end = min(end, now)
        # Where all took longer than that, they are all there is.
        rate = count / (end - begun) if count else len(times) / (now - begun)
        return {"count": count, "rate": rate, **_spread(times)}

    def request(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """One client asks for something without an acknowledgement."""
        self.clients[0].send(_request(payload, acknowledged=False))
        return {}

    def one_way(self, payload: Mapping[str, Any], count: int) -> dict[str, Any]:
        """One client makes the flow send messages, and counts them.

        Returns:
            Messages a second between the first one's arrival and the last one's.
        """
        self.clients[0].send(_request(payload))
        heard, begun, now = 0, 0.0, 0.0
        while heard < count:
            for _, packets in self.arrivals():
                now = time.monotonic()
                begun = begun or now
                heard += sum(packet.startswith(_TOLD) for packet in packets)
        return {"count": heard, "rate": heard / (now - begun)}

    def fan_outs(self, payload: Mapping[str, Any], times: int) -> dict[str, Any]:
        """One client makes the server tell everyone something, again and again.

        Returns:
            Seconds from the sending to the last client's receiving, each time.
        """
        return {"taken": [self._fan_out(payload) for _ in range(times)]}

    def _fan_out(self, payload: Mapping[str, Any]) -> float:
        self.clients[0].send(_request(payload))
        waiting, told, now = len(self.clients), b"", 0.0
        answered = False
        while waiting or not answered:
            for _, packets in self.arrivals():
                now = time.monotonic() if waiting else now
                for packet in packets:
                    if packet.startswith(_TOLD):
                        told = packet
                        waiting -= 1
                    answered = answered or packet.startswith(_ANSWER)
        sent: float = json.loads(told[2:])[1]["message"]["data"]["at"]
        return now - sent


def _spread(times: Sequence[float]) -> dict[str, float]:
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98] if times[1:] else times[0]
    return {"median": statistics.median(times), "p99": p99}


def _request(payload: Mapping[str, Any], *, acknowledged: bool = True) -> bytes:
    head = "421" if acknowledged else "42"
    return text_frame(head + json.dumps(["send_message", payload]))


def _require(marked: bytes, packet: bytes) -> None:
    if marked not in packet:
        raise ValueError(f"this is no answer to what was asked: {packet!r}")
