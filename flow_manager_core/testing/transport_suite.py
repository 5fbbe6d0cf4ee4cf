"""The contract of `Transport`, as tests that any transport can run on itself.

A subclass names the provider::

    class TestMyTransport(TransportSuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns

pytest collects it like any test class and runs it with anyio's plugin, on asyncio and trio where
the fixture `anyio_backend` says so. A transport that is no Unix socket also overrides `connect`:
how a program with a given environment gets to its channel.
"""

from __future__ import annotations

from flow_manager_core.testing.transport_cases.channels import ChannelCases
from flow_manager_core.testing.transport_cases.connections import ConnectionCases
from flow_manager_core.testing.transport_cases.endings import EndingCases
from flow_manager_core.testing.transport_cases.streams import StreamCases


class TransportSuite(ConnectionCases, StreamCases, ChannelCases, EndingCases):
    """Every case of the contract; see the module's text for how to subclass."""
