"""`kind = "redis"`: one command for each call, each of its arguments one whatever it holds.

* `settings.py`: the keys of the service and of a call
* `commands.py`: which commands only read, and which cannot be calls
* `resp.py`: commands and replies as bytes
* `connection.py`: one connection: logging in, a command, its reply
* `adapter.py`: calls, a connection each while they last
"""

from gateway.adapters.redis.adapter import KIND

__all__ = ["KIND"]
