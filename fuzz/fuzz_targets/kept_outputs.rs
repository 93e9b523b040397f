#![no_main]
tradejoin_fuzz::target!("kept_outputs");
