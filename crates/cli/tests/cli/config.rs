//! The configuration file of `run`.

use serde_json::Value;

use crate::support::{ENRICHED, Folder};

#[test]
fn a_file_says_what_flags_say_and_flags_go_before_it() {
    let folder = Folder::new();
    folder.put("venues.csv", "mic,city\nZ,Zurich\n\"X, Y\",Exeter\n");
    folder.put(
        "tradejoin.toml",
        "[input]\ntrades = \"trades.csv\"\ninstruments = \"instruments.csv\"\nusers = \"users.csv\"\nstrict = true\n\
         [output]\nfile = \"out.csv\"\n\
         [engine]\nworkers = 2\nunmatched = \"drop\"\nbatch_len = 100\n\
         distribution = { instruments = \"partitioned\", users = \"broadcast\" }\n",
    );
    folder.ok("run --config tradejoin.toml --quiet");
    assert_eq!(folder.read("out.csv"), ENRICHED);
    let kept = folder.ok("run --config=tradejoin.toml --unmatched keep --output - --workers 1");
    assert_eq!(kept.lines().count(), 6);
    folder.put(
        "tables.toml",
        "[input]\ntrades = \"trades.csv\"\nlimit = 2\n\
         [[table]]\nname = \"venues\"\nfile = \"venues.csv\"\nkey = \"venue@mic\"\ncolumns = [\"city as at\"]\n\
         distribution = \"broadcast\"\n\
         [[table]]\nname = \"people\"\nfile = \"users.csv\"\nkey = \"user_id\"\n\
         [output]\ncolumns = [\"username as who\", \"venues.at\"]\n",
    );
    let printed = folder.ok("run --config tables.toml");
    let rows: Vec<_> = printed.lines().collect();
    assert!(rows[0].ends_with(",venue,who,at"), "{}", rows[0]);
    assert!(rows[1].ends_with(",\"X, Y\",kim,Exeter"), "{}", rows[1]);
    // The tables of the command line take the place of those of the file.
    let printed = folder.ok("run --config tables.toml --table u=users.csv,key=user_id --columns username");
    assert!(printed.lines().nth(2).is_some_and(|row| row.ends_with("\"o'neil, pat\"")), "{printed}");
}

/// What a flag says of one table leaves alone what the file says of others.
#[test]
fn a_flag_for_a_table_goes_before_what_the_file_says_of_it() {
    let folder = Folder::empty();
    folder.put("t.csv", "timestamp,instrument_id,user_id\n2024-11-01T12:30:00Z,1,1\n");
    folder.put(
        "i.csv",
        "instrument_id,ticker,strike,expiry,option_type,valid_from\n\
         1,OLD,1,2025-01-01,C,2020-01-01T00:00:00Z\n1,NEW,2,2025-01-01,C,2024-11-02T00:00:00Z\n",
    );
    folder.put("u.csv", "user_id,username\n1,kim\n");
    let engine = "mode = { instruments = \"as-of\" }\non_miss = { instruments = \"fail\", users = \"fail\" }";
    let input = "trades = \"t.csv\"\ninstruments = \"i.csv\"\nusers = \"u.csv\"";
    folder.put("c.toml", format!("[input]\n{input}\n[engine]\n{engine}\n"));
    let job = "run --config c.toml --columns ticker";
    for flags in ["", "--mode users=latest", "--on-miss users=keep"] {
        assert!(folder.ok(&format!("{job} {flags}")).ends_with(",OLD\n"), "{flags}");
    }
    assert!(folder.ok(&format!("{job} --mode users=latest,instruments=latest")).ends_with(",NEW\n"));
    folder.put("t.csv", "timestamp,instrument_id,user_id\n2024-11-01T12:30:00Z,9,9\n");
    assert!(folder.fails(65, &format!("{job} --on-miss users=keep")).contains("in instruments"));
    let users = folder.fails(65, &format!("{job} --on-miss instruments=keep"));
    assert!(users.contains("in users"), "{users}");
    folder.ok(&format!("{job} --on-miss instruments=keep --on-miss users=keep"));
}

#[test]
fn what_tables_wait_for_is_said_of_all_or_by_name() {
    let folder = Folder::empty();
    folder.put("s.jsonl", "{\"type\":\"user\",\"user_id\":1,\"username\":\"kim\"}\n");
    for (condition, said, other) in [
        ("\"marker\"", "the table instruments was ready: it waited for its marker", "users"),
        (
            "{ instruments = \"0rows\", users = \"2rows\" }",
            "the table users was ready: it waited for 2 rows",
            "instruments",
        ),
    ] {
        let content = format!(
            "[input]\nmessages = \"s.jsonl\"\ngate_timeout = \"5m\"\ntable_ready_after = {condition}\n"
        );
        folder.put("c.toml", content);
        assert!(folder.fails(65, "run --config c.toml").contains(said), "{condition}");
        folder.ok("run --config c.toml --table-ready-after 0rows");
        let one = folder.fails(65, &format!("run --config c.toml --table-ready-after {other}=0rows"));
        assert!(one.contains(said), "{condition}: {one}");
    }
    folder.put("c.toml", "[input]\ntable_ready_after = 5\n");
    assert!(folder.fails(2, "run --config c.toml").contains("a condition such as \"marker\""));
}

#[test]
fn what_a_file_cannot_say_is_2() {
    let folder = Folder::new();
    for (content, expected) in [
        ("[engine]\nworker = 2\n", "c.toml, line 2: unknown field `worker`"),
        ("[engine]\nworker = 2\n", "did you mean workers?"),
        ("[inputs]\n", "did you mean input?"),
        ("[[table]]\nname = \"v\"\nfile = \"v.csv\"\n", "missing field `key`"),
        ("[engine]\nworkers = \"two\"\n", "c.toml, line 2: invalid type"),
        ("[engine\n", "c.toml, line 1: "),
        ("[engine]\nworkers = 0\n", "with what c.toml adds to the command line:"),
        ("[engine]\norder = \"random\"\n", "invalid value 'random' for '--order"),
        ("[[table]]\nname = \"v\"\nfile = \"v.csv\"\nkey = \"\"\n", "table v: key has no value"),
    ] {
        folder.put("c.toml", content);
        let said = folder.fails(2, "run --config c.toml");
        assert!(said.contains(expected), "{content}: {said}");
    }
    let said = folder.fails(66, "run --config nowhere.toml");
    assert!(said.contains("cannot open nowhere.toml"), "{said}");
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_command() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.schema.json");
    let published = std::fs::read_to_string(published).expect("a schema");
    assert_eq!(
        published,
        Folder::empty().ok("config-schema"),
        "tradejoin config-schema > docs/config.schema.json"
    );
}

#[test]
fn the_schema_has_the_bounds_of_the_command() {
    let folder = Folder::empty();
    let schema: Value = serde_json::from_str(&folder.ok("config-schema")).expect("JSON");
    let sections = schema["properties"].as_object().expect("sections");
    let mut bounds = 0;
    for (section, of_section) in sections {
        let Some(name) = of_section["$ref"].as_str().and_then(|path| path.rsplit('/').next()) else {
            continue;
        };
        for (key, property) in schema["$defs"][name]["properties"].as_object().expect("keys") {
            let least = property["minimum"].as_u64().filter(|&least| least > 0).map(|least| least - 1);
            let most = property["maximum"].as_u64().map(|most| most + 1);
            for outside in least.into_iter().chain(most) {
                folder.put("c.toml", format!("[{section}]\n{key} = {outside}\n"));
                let said = folder.fails(2, "run --config c.toml");
                assert!(said.contains(&format!("invalid value '{outside}'")), "{section}.{key}: {said}");
                bounds += 1;
            }
        }
    }
    assert!(bounds > 15, "{bounds}");
}
