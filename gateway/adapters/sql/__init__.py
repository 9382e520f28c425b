"""`kind = "sql"`: one statement of SQL for each call, its values bound and never part of it.

* `settings.py`: the keys of the service and of a call
* `statement.py`: a statement as it is written: its parameters, and that it is one
* `rows.py`: what a database gives, as JSON has it
* `times.py`: times that PostgreSQL has and Python has not
* `database.py`: what a database has to be able to do
* `sqlite.py`, `postgres.py`: two that can
* `adapter.py`: calls, in threads, stopped where they are when their request goes away
"""

from gateway.adapters.sql.adapter import KIND

__all__ = ["KIND"]
