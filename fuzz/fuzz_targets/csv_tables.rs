#![no_main]
tradejoin_fuzz::target!("csv_tables");
