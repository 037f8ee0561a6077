"""The HTTP API: jobs that are queued in a database, done by workers, and fetched as files."""
