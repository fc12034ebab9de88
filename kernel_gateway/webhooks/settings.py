"""What a deployer can choose about webhooks, as plain frozen values.

Knows names, units and defaults. Must not know where they come from nor what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    tries: int = 12  # of one delivery, before it is given up
    first_pause_s: float = 0.5  # before the second try; doubles with each
    most_pause_s: float = 60.0  # also of what a receiver asks for by Retry-After
    timeout_s: float = 10.0  # of one try, from the look-up of the name to the answer's head
    every_s: float = 0.5  # between two deliveries to one run's receiver that bring text alone
    drain_s: float = 5.0  # for what is still to be delivered when the gateway shuts down
    #: May be called whatever their address: names as patterns of the shell (`*.example.com`),
    #: addresses and networks (`10.1.0.0/16`).
    allowed_hosts: tuple[str, ...] = ()
    allow_public: bool = True  # all other hosts too, by their public addresses
