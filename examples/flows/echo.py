"""A flow that answers `echo` with what it was told, and anything else with an error."""

from flow_manager_sdk import Flow

flow = Flow()


@flow.on("echo")
def echo(data):
    return data


if __name__ == "__main__":
    flow.run()
