"""What an output holds: its rows, a checksum over all values that does not depend
on the order, and whether the trades stand in the order of the input.

Usage: check.py FILE
"""

import json
import pathlib
import sys

import duckdb

# The same types for every output, whatever the file has.
COLUMNS = {
    "trade_id": "CAST(trade_id AS UBIGINT)",
    "timestamp": "epoch_ns(CAST(timestamp AS TIMESTAMP_NS))",
    "instrument_id": "CAST(instrument_id AS UINTEGER)",
    "user_id": "CAST(user_id AS UINTEGER)",
    "price": "CAST(price AS DECIMAL(38, 9))",
    "quantity": "CAST(quantity AS DECIMAL(38, 9))",
    "side": "CAST(side AS VARCHAR)",
    "instrument": "CAST(instrument AS VARCHAR)",
}


def main(path):
    if pathlib.Path(path).suffix == ".csv":
        source = f"read_csv('{path}', header = true, all_varchar = true)"
    else:
        source = f"read_parquet('{path}')"
    connection = duckdb.connect()
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    if names != list(COLUMNS):
        sys.exit(f"{path} has the columns {names}, not {list(COLUMNS)}")
    rows, checksum = connection.execute(
        f"SELECT count(*), sum(hash({', '.join(COLUMNS.values())})) FROM {source}"
    ).fetchone()
    # Ids count up in the input. Rows are numbered as they stand in the file.
    (displaced,) = connection.execute(
        f"SELECT count(*) FROM (SELECT {COLUMNS['trade_id']} AS id, row_number() OVER () AS place FROM {source})"
        " WHERE id <> place"
    ).fetchone()
    checksum = f"{int(checksum) % 2**64:016x}"
    print(json.dumps({"rows": rows, "checksum": checksum, "in_order": displaced == 0}))


if __name__ == "__main__":
    main(sys.argv[1])
