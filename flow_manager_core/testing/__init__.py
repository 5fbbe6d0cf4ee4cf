"""What a provider's own tests are made of: contract suites, and providers that live in memory.

`backend_suite.BackendSuite`, `transport_suite.TransportSuite`, `frontend_suite.FrontendSuite`,
`journal_suite.JournalSuite`, `recovery_suite.RecoverySuite` and
`error_format_suite.ErrorFormatSuite` hold what every provider of their seam must do; a subclass of
a few lines runs them. They need pytest, the last two Hypothesis as well. `memory_backend`,
`memory_transport` and `memory_frontend` do not: they also serve a host application that wants to
try itself out.
"""

from __future__ import annotations

import sys

if _pytest := sys.modules.get("pytest"):
    # Plain asserts of the suites tell their values only when pytest has rewritten them.
    for _seam in ("backend", "transport", "frontend", "recovery", "error_format", "journal"):
        _pytest.register_assert_rewrite(f"{__name__}.{_seam}_cases", f"{__name__}.{_seam}_suite")
