"""What a provider's own tests are made of: contract suites, and providers that live in memory.

`backend_suite.BackendSuite` and `transport_suite.TransportSuite` hold what every backend and every
transport must do; a subclass of a few lines runs them. They need pytest. `memory_backend` and
`memory_transport` do not: they also serve a host application that wants to try itself out.
"""

from __future__ import annotations

import sys

if _pytest := sys.modules.get("pytest"):
    # Plain asserts of the suites tell their values only when pytest has rewritten them.
    for _part in ("backend_cases", "backend_suite", "transport_cases", "transport_suite"):
        _pytest.register_assert_rewrite(f"{__name__}.{_part}")
