"""Makes the command line a plugin like the others: listed, and offering no provider."""
