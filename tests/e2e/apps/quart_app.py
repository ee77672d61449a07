"""Quart, on asyncio."""

from quart import Quart

from tests.e2e.apps.quart_routes import routes

app = routes(Quart(__name__))
