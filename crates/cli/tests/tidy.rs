//! Holds the code and its docs together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root of the workspace")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("metadata")
}

/// The crates of the workspace, and those that each builds on.
fn crate_graph() -> BTreeMap<String, BTreeSet<String>> {
    let short = |name: &str| name.strip_prefix("tradejoin-").unwrap_or("cli").to_owned();
    let is_ours = |name: &str| name.starts_with("tradejoin");
    let dependencies = |package: &cargo_metadata::Package| {
        let normal =
            package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && is_ours(&d.name));
        normal.map(|dependency| short(&dependency.name)).collect()
    };
    metadata()
        .workspace_packages()
        .iter()
        .map(|package| (short(&package.name), dependencies(package)))
        .collect()
}

/// The rows of the first Markdown table in `page` whose header starts with
/// `header`, as cells.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_crate_graph_is_the_one_in_the_architecture_page() {
    let page = read("docs/architecture.md");
    let documented: BTreeMap<String, BTreeSet<String>> = table(&page, "| crate | depends on |")
        .into_iter()
        .map(|row| {
            let names = row[1].split(',').map(|name| name.trim().to_owned());
            (row[0].clone(), names.filter(|name| !name.is_empty() && name != "nothing").collect())
        })
        .collect();
    assert_eq!(documented, crate_graph());
}

#[test]
fn no_crate_of_the_first_floor_names_another() {
    let floor = ["router", "worker", "merger", "generator", "connectors", "checkpoint", "baseline"];
    let graph = crate_graph();
    for name in floor {
        let others: Vec<_> = graph[name].iter().filter(|other| floor.contains(&other.as_str())).collect();
        assert!(others.is_empty(), "{name} names {others:?}");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let page = read("docs/dependencies.md");
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the section");
    let names =
        section.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    for (name, _) in names.filter(|(name, _)| !name.starts_with("tradejoin")) {
        assert!(page.contains(&format!("`{name}`")), "docs/dependencies.md says nothing of {name}");
    }
}

#[test]
fn every_page_is_in_the_book_and_every_link_leads_somewhere() {
    let summary = read("docs/SUMMARY.md");
    for path in markdown(&root().join("docs")) {
        let name = path.strip_prefix(root().join("docs")).expect("below docs").display().to_string();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is not in the book");
    }
    let pages = markdown(&root().join("docs"))
        .into_iter()
        .chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|p| root().join(p)));
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let target = page.parent().expect("a folder").join(target);
            assert!(target.exists(), "{} links to {}", page.display(), target.display());
        }
    }
}

#[test]
fn every_case_of_the_semantics_is_a_test_of_its_name() {
    let page = read("docs/semantics.md");
    let cases = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let cases: Vec<_> = cases.map(|(case, _)| case).collect();
    assert!(cases.len() > 30, "{} cases were found", cases.len());
    let tests = ["bad_records", "semantics", "reload", "control", "changes", "live_changes", "corrections"]
        .map(|name| read(&format!("crates/cli/tests/cli/{name}.rs")));
    let tests = tests.concat();
    for case in cases {
        assert!(tests.contains(&format!("#[test]\nfn {case}()")), "{case} is not tested");
    }
}

#[test]
fn the_reasons_of_dead_letters_are_those_of_their_page() {
    let rows = table(&read("docs/dead-letters.md"), "| reason | what is wrong |");
    let told: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(told, tradejoin_connectors::reason_codes());
}

#[test]
fn every_proof_of_the_reliability_page_is_there() {
    let page = read("docs/reliability.md");
    let files = below(&root().join("crates"), "rs");
    let code = files.iter().map(|path| fs::read_to_string(path).expect("code")).collect::<String>();
    let is_of = |name: &str, letters: fn(char) -> bool| !name.is_empty() && name.chars().all(letters);
    let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    // Every second piece stands between two of them.
    let names: BTreeSet<_> = page.split('`').skip(1).step_by(2).collect();
    let tests: Vec<_> =
        names.iter().filter(|name| is_of(name, is_word) && name.matches('_').count() >= 2).collect();
    assert!(tests.len() > 50, "{} tests were found", tests.len());
    for name in tests {
        assert!(
            code.contains(&format!("    fn {name}(")) || code.contains(&format!("\nfn {name}(")),
            "there is no {name}"
        );
    }
    for name in names.iter().filter(|name| name.strip_suffix(".rs").is_some_and(|name| is_of(name, is_word)))
    {
        assert!(files.iter().any(|path| path.ends_with(name)), "there is no {name}");
    }
}

/// All Markdown files below `folder`, the built book left out.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    below(folder, "md")
}

/// All files below `folder` with such an ending, those of a built book left out.
fn below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("book") {
            found.extend(below(&path, ending));
        } else if path.extension().is_some_and(|other| other == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}
