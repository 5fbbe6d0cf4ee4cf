"""The cases of `BackendSuite`, one module for each side of the contract."""
