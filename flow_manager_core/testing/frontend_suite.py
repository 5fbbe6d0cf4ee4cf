"""The contract of `Frontend`, as tests that any frontend can run on itself.

A subclass names the provider and says how a client gets in::

    class TestMyFrontend(FrontendSuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns

        @asynccontextmanager
        async def client(self, address):
            async with my_client_library.connect(address) as connection:
                yield MyAdapter(connection)     # see `FrontendClient`

pytest collects it like any test class and runs it with anyio's plugin, on asyncio and trio where
the fixture `anyio_backend` says so. `FrontendClients` documents all hooks. A manager stands behind
the frontend, with a backend and a transport in memory: no engine is needed.
"""

from __future__ import annotations

from flow_manager_core.testing.frontend_cases.answers import AnswerCases
from flow_manager_core.testing.frontend_cases.endings import EndingCases
from flow_manager_core.testing.frontend_cases.faults import FaultCases
from flow_manager_core.testing.frontend_cases.news import EventCases
from flow_manager_core.testing.frontend_cases.order import OrderCases
from flow_manager_core.testing.frontend_cases.streams import StreamCases


class FrontendSuite(AnswerCases, OrderCases, EventCases, StreamCases, EndingCases, FaultCases):
    """Every case of the contract; see the module's text for how to subclass."""
