"""A gateway, over HTTP: `Client`, and `AsyncClient` for programs with a loop.

Knows `service.py` and what lies below it, and the routes. Must not know the engine.
"""

from kernel_gateway.client.asynchronous import AsyncClient
from kernel_gateway.client.blocking import Client
from kernel_gateway.client.patience import Patience
from kernel_gateway.client.values import Gap, RecordPage, Told, Unknown

__all__ = ["AsyncClient", "Client", "Gap", "Patience", "RecordPage", "Told", "Unknown"]
