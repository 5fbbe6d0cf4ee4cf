"""Flow Manager's process backend: a flow is a child process that outlives the manager.

Each run has a keeper, `shim`, which starts the program, records its output and its end, and needs
no manager to do so. `store` holds a folder for each container, `launcher` and `runs` deal with
keepers, `backend` is the contract.
"""
