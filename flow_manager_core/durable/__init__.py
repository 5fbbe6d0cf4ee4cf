"""Messages that are not lost: to a flow until it has acknowledged them, from a flow once.

`letters` says what such a message is and how it stands in the journal; `box` holds one container's
messages in their order; `outbox` takes them in, `settling` ends their way, and `dead` keeps those
that never arrived. `inbox` stores what flows send. `courier` speaks with one flow over one
connection, and `post` puts all of it together.
"""
