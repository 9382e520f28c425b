"""For tests of what stands on the gateway, and of the gateway itself: no network, no real time.

* `services.py`: `ScriptedService`: replies, fails, hangs, as told; remembers what it was asked
* `client.py`: `InMemoryClient`: an ASGI client that can leave in the middle
* `cancellation.py`: `cancel_at_every_checkpoint`: the request cancelled everywhere it can be

```python
async def test_a_hanging_service_is_labelled(autojump_clock):
    crm = ScriptedService().hang()
    app = create_app("gateway.toml", services={"crm": crm})
    async with open_client(app) as client:
        answer = await client.request("GET", "/customers/7")
    assert answer.headers["x-gateway-partial"] == "crm=deadline_exceeded"
    assert crm.active == 0
```
"""

from gateway.testing.cancellation import Cancellable, cancel_at_every_checkpoint
from gateway.testing.client import Answer, InMemoryClient, open_client
from gateway.testing.services import ScriptedService

__all__ = [
    "Answer",
    "Cancellable",
    "InMemoryClient",
    "ScriptedService",
    "cancel_at_every_checkpoint",
    "open_client",
]
