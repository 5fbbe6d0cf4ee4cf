"""A flow that notes what it is told, each once, and says numbers; it may be killed at any time.

What it notes stands in ``effects``; every delivery, with its place in the manager's order, in
``deliveries``. What it has said already, it knows from its spool.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from flow_manager_sdk import Flow, Message, NotConnected

HOME = Path(os.environ["DIARY"])
TOTAL = int(os.environ["DIARY_TOTAL"])

flow = Flow(spool=str(HOME / "spool"))
effects = (HOME / "effects").open("a+")
effects.seek(0)
done = {int(line) for line in effects}
deliveries = (HOME / "deliveries").open("a")


@flow.on("note")
def note(number: int, message: Message) -> None:
    deliveries.write(f"{message.extra['seq']} {number}\n")
    deliveries.flush()
    if number not in done:
        done.add(number)
        effects.write(f"{number}\n")
        effects.flush()


def say() -> None:
    for number in range(flow.sent + 1, TOTAL + 1):
        try:
            flow.send("said", number, durable=True, timeout=3600)
        except NotConnected:
            return  # the program ends


threading.Thread(target=say, daemon=True).start()
flow.run()
