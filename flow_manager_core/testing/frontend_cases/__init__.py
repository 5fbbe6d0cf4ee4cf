"""The cases of `frontend_suite.FrontendSuite`, by what they are about."""
