#![no_main]
tradejoin_fuzz::target!("packed_trades");
