"""Schema of the ingest database."""
