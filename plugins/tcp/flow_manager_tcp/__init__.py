"""Flow Manager's channel over TCP: flows dial back with a secret of their own."""
