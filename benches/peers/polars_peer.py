"""Polars: one join, from file to file, with two threads.

Usage: polars_peer.py ENGINE CASE FOLDER OUTPUT, where ENGINE is streaming or in-memory
"""

import os
import sys

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl  # noqa: E402  (reads the number of threads when it is loaded)

from cases import CASES  # noqa: E402

# Between CSV files all but the key is text, as it is to tradejoin.
TEXTS = {
    "trade_id": pl.String,
    "timestamp": pl.String,
    "instrument_id": pl.UInt32,
    "user_id": pl.String,
    "price": pl.String,
    "quantity": pl.String,
    "side": pl.String,
}
TYPES = {
    "trade_id": pl.UInt64,
    "timestamp": pl.String,
    "instrument_id": pl.UInt32,
    "user_id": pl.UInt32,
    "price": pl.Decimal(18, 9),
    "quantity": pl.UInt32,
    "side": pl.String,
}
INSTRUMENTS = {
    "instrument_id": pl.UInt32,
    "ticker": pl.String,
    "strike": pl.Float64,
    "expiry": pl.Date,
    "option_type": pl.String,
}


def trades(case, folder):
    if case.source == "parquet":
        return pl.scan_parquet(f"{folder}/trades.parquet")
    if case.target == "csv":
        return pl.scan_csv(f"{folder}/trades.csv", schema=TEXTS)
    frame = pl.scan_csv(f"{folder}/trades.csv", schema=TYPES)
    time = pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns", time_zone="UTC")
    return frame.with_columns(time)


def instruments(case, folder):
    if case.source == "parquet":
        frame = pl.scan_parquet(f"{folder}/instruments.parquet")
    else:
        frame = pl.scan_csv(f"{folder}/instruments.csv", schema=INSTRUMENTS)
    # What `tradejoin` writes in `instrument`, made once for each instrument.
    thousandths = (pl.col("strike").cast(pl.Float64) * 1000).round(0).cast(pl.Int64)
    symbol = pl.concat_str(
        pl.col("ticker"),
        pl.col("expiry").dt.strftime("%y%m%d"),
        pl.col("option_type").str.slice(0, 1).str.to_uppercase(),
        thousandths.cast(pl.String).str.zfill(8),
    )
    return frame.select("instrument_id", symbol.alias("instrument"))


def main(engine, name, folder, output):
    case = CASES[name]
    joined = trades(case, folder).join(instruments(case, folder), on="instrument_id", how="inner")
    if case.target == "csv":
        if engine == "streaming":
            joined.sink_csv(output, engine="streaming")
        else:
            joined.collect(engine="in-memory").write_csv(output)
    elif engine == "streaming":
        joined.sink_parquet(output, compression="zstd", compression_level=1, engine="streaming")
    else:
        joined.collect(engine="in-memory").write_parquet(output, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
