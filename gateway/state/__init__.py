"""What workers share: limits, cache, channels, jobs.

`[state] url = "memory:"` is all there is so far: one worker, nothing shared.
"""
