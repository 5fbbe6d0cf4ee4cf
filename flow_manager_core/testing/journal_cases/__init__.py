"""The cases of `journal_suite.JournalSuite`, by what they are about."""
