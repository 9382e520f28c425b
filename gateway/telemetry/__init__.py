"""What happened, told once: events go in, metrics and log lines come out.

* `events.py`: what can be told: requests, calls, abandoned threads
* `hub.py`: `Telemetry`: passes each event to its listeners; a failing listener harms nobody
* `metrics.py`: the listener that counts, and its Prometheus text
* `counts.py`: what it counts with
* `watchdog.py`: who holds the loop
* `logs.py`: the form of log lines, the context they carry, and the listener that writes them
"""
