"""The load: clients that cost next to nothing, many in one process of their own.

Packets are made by hand and sent over raw WebSockets; a client library would be what is measured.
"""
