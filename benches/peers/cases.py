"""The pairs of formats that are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """From which format to which."""

    title: str
    source: str
    target: str


CASES = {
    "csv-csv": Case("CSV to CSV", "csv", "csv"),
    "csv-parquet": Case("CSV to Parquet", "csv", "parquet"),
    "parquet-parquet": Case("Parquet to Parquet", "parquet", "parquet"),
}
