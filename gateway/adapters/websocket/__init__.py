"""`kind = "websocket"`: one message there and one back, or a subscription.

With `correlation` all calls share one connection, and a field of each message pairs a reply with its
request. Without it each call has a connection of its own, and so has each subscription.

* `settings.py`: the keys of the service and of a call
* `adapter.py`: connections of calls' own, and subscriptions
* `shared.py`: the connection that all calls share
* `texts.py`: values as messages, and messages as values
"""

from gateway.adapters.websocket.adapter import KIND

__all__ = ["KIND"]
