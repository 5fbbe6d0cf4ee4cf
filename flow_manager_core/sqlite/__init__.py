"""The journal in a file of SQLite: a connection to write and one to read, with deadlines."""
