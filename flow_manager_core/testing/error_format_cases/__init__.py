"""The cases of `error_format_suite.ErrorFormatSuite`, by what they are about."""
