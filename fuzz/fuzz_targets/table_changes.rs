#![no_main]
tradejoin_fuzz::target!("table_changes");
