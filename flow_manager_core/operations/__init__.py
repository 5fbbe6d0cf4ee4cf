"""What clients can ask for: one coroutine an operation, and the table that is built from them."""
