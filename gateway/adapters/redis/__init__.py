"""`kind = "redis"`: one command for each call, each of its arguments one whatever it holds.

* `settings.py`: the keys of the service and of a call
* `commands.py`: which commands only read, and which cannot be calls
* `values.py`: what Redis gives, as JSON has it
* `connection.py`: coredis' connection over bytes of ours; imported where it is used, an extra
* `adapter.py`: calls, a connection each while they last
"""

from gateway.adapters.redis.adapter import KIND

__all__ = ["KIND"]
