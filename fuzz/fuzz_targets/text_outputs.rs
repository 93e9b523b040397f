#![no_main]
tradejoin_fuzz::target!("text_outputs");
