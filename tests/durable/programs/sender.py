"""A client that sends numbers as durable messages; it may be killed at any time.

``sender.py HOME TOKEN CONTAINER TOTAL``: the manager's address stands in ``HOME/url``. What was
accepted is noted in ``HOME/accepted``: the number and its message's id. Where a life cannot know
whether a number was accepted, it sends it again with the same request id.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import socketio
from socketio.exceptions import SocketIOError

HOME, TOKEN, CONTAINER, TOTAL = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
#: Numbers that are under way at once; a batch is done before the next one begins.
BATCH = 50
#: Seconds for an answer.
PATIENCE = 20.0


def accepted() -> int:
    """How many were, in earlier lives; they were noted in order."""
    try:
        return len((HOME / "accepted").read_text().splitlines())
    except FileNotFoundError:
        return 0


async def main() -> None:
    next_number = accepted() + 1
    with (HOME / "accepted").open("a") as notes:
        while next_number <= TOTAL:
            client = socketio.AsyncClient(reconnection=False)
            try:
                url = (HOME / "url").read_text()
                await client.connect(
                    url, auth={"token": TOKEN, "events": []}, wait_timeout=PATIENCE
                )
                while next_number <= TOTAL:
                    numbers = range(next_number, min(next_number + BATCH, TOTAL + 1))
                    answers = await asyncio.gather(*(say(client, n) for n in numbers))
                    for number, answer in zip(numbers, answers, strict=True):
                        if answer.get("error"):
                            if not answer["details"]["retryable"]:
                                raise SystemExit(str(answer))
                            break
                        notes.write(f"{number} {answer['message_id']}\n")
                        notes.flush()
                        next_number = number + 1
            except (SocketIOError, OSError):
                await asyncio.sleep(0.05)
            finally:
                await client.shutdown()


async def say(client: Any, number: int) -> dict[str, Any]:
    answer: dict[str, Any] = await client.call(
        "send_message",
        {
            "container_id": CONTAINER,
            "message": {"command": "note", "data": number},
            "delivery": "durable",
            "max_deliveries": 1_000_000,
            "request_id": f"note-{number}",
        },
        timeout=PATIENCE,
    )
    return answer


asyncio.run(main())
