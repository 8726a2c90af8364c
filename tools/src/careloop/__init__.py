"""The launcher behind `./careloop`: real servers for one clone, the services on them, and what is run there."""
