"""What docker-compose.yml runs once to make three members a replica set with TLS and login."""
