#![no_main]
tradejoin_fuzz::target!("dead_letters");
