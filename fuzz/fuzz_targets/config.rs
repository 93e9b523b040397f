#![no_main]
tradejoin_fuzz::target!("config");
