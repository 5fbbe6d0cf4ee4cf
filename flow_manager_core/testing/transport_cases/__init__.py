"""The cases of `transport_suite.TransportSuite`, by what they are about."""
