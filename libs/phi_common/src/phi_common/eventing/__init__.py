"""Events between services: outbox and inbox in PostgreSQL, Kafka in between, at least once with the effect once."""
