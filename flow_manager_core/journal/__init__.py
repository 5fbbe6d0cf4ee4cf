"""The one way into the journal: groups of changes and events, for one life of the manager."""
