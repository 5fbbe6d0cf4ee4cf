"""The cases of `recovery_suite.RecoverySuite`, by what they are about."""
