#![no_main]
tradejoin_fuzz::target!("checkpoint_contents");
