"""A flow without the SDK: it answers every question with its own data."""

import json
import os
import socket


def serve(channel):
    while header := channel.read(4):
        message = json.loads(channel.read(int.from_bytes(header, "big")))
        if "id" in message:
            answer = {"command": "result", "data": message["data"], "reply_to": message["id"]}
            body = json.dumps(answer).encode()
            channel.write(len(body).to_bytes(4, "big") + body)
            channel.flush()


with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.environ["FLOW_SOCKET"])
    with connection.makefile("rwb") as channel:
        serve(channel)
