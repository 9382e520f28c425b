"""What a tool does under any weather: the real plans and policies, on a clock that does not wait.

* `clock.py`: virtual time that jumps to what happens next; the same seed, the same schedule
* `distributions.py`: how long a service takes: `lognormal:80ms,p99=2s`, a file of recorded ones
* `weather.py`: what the services do: latencies, failures, silence, outages, replies
* `samples.py`: a reply for each call that nobody gave one for
* `stand_in.py`: a service that does what the weather says
* `scenario.py`: what is simulated, and the gateway made for it
* `once.py`: one request: its answer as a client gets it, and everything on its way
* `crowd.py`: many requests; `tally.py` counts what is told of them
* `figures.py`: the counts, over time
* `seeds.py`: several seeds, in several processes
* `differences.py`: where two configurations differ
* `measures.py`: which figures are shown, each with its unit
* `timeline.py`, `text.py`, `html.py`, `plots.py`: how it is shown

Nothing of the gateway is imitated: `build` makes it as it is served, with stand-ins in the place of
its services.
"""
