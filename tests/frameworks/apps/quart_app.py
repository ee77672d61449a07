"""Quart, on asyncio."""

from quart import Quart

from tests.frameworks.apps.quart_routes import routes

app = routes(Quart(__name__))
