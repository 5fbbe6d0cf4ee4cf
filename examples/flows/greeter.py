"""A flow that says hello when it connects, greets when it is asked to, and crashes when told."""

import os

from flow_manager_sdk import Flow

flow = Flow()


@flow.on_connected
def hello():
    flow.send("hello", {"pid": os.getpid()})


@flow.on("greet")
def greet(data):
    return {"greeting": f"Hello, {data['name']}"}


@flow.on("crash")
def crash(_data):
    os._exit(3)


if __name__ == "__main__":
    flow.run()
