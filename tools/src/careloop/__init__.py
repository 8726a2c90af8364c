"""The launcher behind `./careloop`: real PostgreSQL, Kafka and OpenBao of one clone, the services on them, and what is run there."""
