1 / 0  # noqa: B018 - what it is for
