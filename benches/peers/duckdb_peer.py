"""DuckDB: one join, from file to file, with two threads.

Usage: duckdb_peer.py CASE FOLDER OUTPUT
"""

import sys

import duckdb

from cases import CASES

# What `tradejoin` writes in `instrument`, made once for each instrument.
SYMBOL = """ticker || strftime(expiry, '%y%m%d') || upper(option_type[1])
    || lpad(CAST(CAST(strike * 1000 AS INTEGER) AS VARCHAR), 8, '0')"""
# Between CSV files all but the key is text, as it is to tradejoin.
TEXTS = {name: "VARCHAR" for name in ("trade_id", "timestamp", "user_id", "price", "quantity", "side")}
# In 64 bits where tradejoin's decimals have 128: less work.
TYPES = {
    "trade_id": "UBIGINT",
    "timestamp": "TIMESTAMP_NS",
    "user_id": "UINTEGER",
    "price": "DECIMAL(18, 9)",
    "quantity": "UINTEGER",
    "side": "VARCHAR",
}


def trades(case, folder):
    if case.source == "parquet":
        return f"read_parquet('{folder}/trades.parquet')"
    columns = dict(TEXTS if case.target == "csv" else TYPES, instrument_id="UINTEGER")
    order = ["trade_id", "timestamp", "instrument_id", "user_id", "price", "quantity", "side"]
    types = ", ".join(f"'{name}': '{columns[name]}'" for name in order)
    return f"read_csv('{folder}/trades.csv', header = true, columns = {{{types}}})"


def instruments(case, folder):
    if case.source == "parquet":
        return f"read_parquet('{folder}/instruments.parquet')"
    types = "'instrument_id': 'UINTEGER', 'ticker': 'VARCHAR', 'strike': 'DECIMAL(8, 3)', "
    types += "'expiry': 'DATE', 'option_type': 'VARCHAR'"
    return f"read_csv('{folder}/instruments.csv', header = true, columns = {{{types}}})"


def main(name, folder, output):
    case = CASES[name]
    options = "FORMAT csv, HEADER"
    if case.target == "parquet":
        options = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute(f"""
        COPY (
            SELECT t.*, i.instrument
            FROM {trades(case, folder)} AS t
            JOIN (SELECT instrument_id, {SYMBOL} AS instrument FROM {instruments(case, folder)}) AS i
            USING (instrument_id)
        ) TO '{output}' ({options})
    """)


if __name__ == "__main__":
    main(*sys.argv[1:])
