"""Recovery policy for Flow Manager: so many restarts in so many seconds, then no more."""
