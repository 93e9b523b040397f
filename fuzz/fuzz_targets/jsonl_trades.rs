#![no_main]
tradejoin_fuzz::target!("jsonl_trades");
