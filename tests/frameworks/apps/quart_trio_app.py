"""Quart on trio."""

from quart_trio import QuartTrio

from tests.frameworks.apps.quart_routes import routes

app = routes(QuartTrio(__name__))
