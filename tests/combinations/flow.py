"""The flow of the combinations: the same program wherever it runs and however it is reached."""

import os

from flow_manager_sdk import Flow

VERSION = 1
flow = Flow()


@flow.on("echo")
def echo(data):
    return data


@flow.on("version")
def version(data):
    return VERSION


@flow.on("announce")
def announce(data):
    flow.send("announced", data)


@flow.on("exit")
def leave(data):
    os._exit(data)


flow.run()
