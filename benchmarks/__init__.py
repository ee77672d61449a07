"""CPU per request, next to other servers: ``make bench SCENARIO=h1-hello``."""
