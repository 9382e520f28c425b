"""Makes shop.db beside this file, for database.toml: 2,000 orders of ten lines each."""

import contextlib
import sqlite3
from pathlib import Path

PRODUCTS = ("lamp", "desk", "chair", "shelf", "sofa", "rug", "clock", "vase", "bench", "mirror")
CUSTOMERS = ("Amber Kestrel", "Jade Heron", "Slate Wren")

path = Path(__file__).with_name("shop.db")
path.unlink(missing_ok=True)
with contextlib.closing(sqlite3.connect(path)) as shop, shop:
    shop.execute("create table orders(number integer primary key, customer text, placed text)")
    shop.execute("create table lines(number integer, product text, count integer)")
    numbers = range(1, 2001)
    shop.executemany(
        "insert into orders values (?, ?, ?)",
        [(n, CUSTOMERS[n % 3], f"2026-{n // 3 % 12 + 1:02}-{n % 28 + 1:02}") for n in numbers],
    )
    shop.executemany(
        "insert into lines values (?, ?, ?)",
        [(n, product, (n + at) % 5 + 1) for n in numbers for at, product in enumerate(PRODUCTS)],
    )
print(f"{path.name}: {len(numbers)} orders")
