//! The names of the files in the folder: what is not of this form is none of ours.

use std::str::FromStr;

/// The file that is locked.
pub(crate) const LOCK: &str = "lock";
/// The file that tells that there has been a checkpoint.
pub(crate) const KEPT: &str = "kept";
/// The manifest until it is whole.
pub(crate) const TEMPORARY: &str = "manifest.tmp";

pub(crate) fn manifest(epoch: u64) -> String {
    format!("manifest-{epoch}.json")
}

pub(crate) fn held(epoch: u64) -> String {
    format!("held-{epoch}.arrow")
}

pub(crate) fn segment(table: usize, epoch: u64, number: u32) -> String {
    format!("table-{table}-{epoch}-{number}.arrow")
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Manifest { epoch: u64 },
    Held { epoch: u64 },
    Segment { table: usize, epoch: u64 },
    Kept,
    Temporary,
}

impl Name {
    /// Reads a name; `None` if it is none that is given here, to the letter.
    pub(crate) fn read(name: &str) -> Option<Self> {
        match name {
            KEPT => return Some(Self::Kept),
            TEMPORARY => return Some(Self::Temporary),
            _ => {}
        }
        if let Some(epoch) = name.strip_prefix("manifest-").and_then(|rest| rest.strip_suffix(".json")) {
            return Some(Self::Manifest { epoch: number(epoch)? });
        }
        let stem = name.strip_suffix(".arrow")?;
        if let Some(epoch) = stem.strip_prefix("held-") {
            return Some(Self::Held { epoch: number(epoch)? });
        }
        let mut parts = stem.strip_prefix("table-")?.split('-');
        let (table, epoch) = (number(parts.next()?)?, number(parts.next()?)?);
        let _: u32 = number(parts.next()?)?;
        parts.next().is_none().then_some(Self::Segment { table, epoch })
    }
}

/// A number in the one way in which it is written.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_does() {
        assert_eq!(Name::read(&manifest(7)), Some(Name::Manifest { epoch: 7 }));
        assert_eq!(Name::read(&held(u64::MAX)), Some(Name::Held { epoch: u64::MAX }));
        assert_eq!(Name::read(&segment(3, 12, 1)), Some(Name::Segment { table: 3, epoch: 12 }));
        for bad in [
            "",
            LOCK,
            "manifest-07.json",
            "manifest-+7.json",
            "manifest-7.json.tmp",
            "manifest-18446744073709551616.json",
            "../manifest-7.json",
            "held-.arrow",
            "table-1-2.arrow",
            "table-1-2-3-4.arrow",
            "table-1-2-/3.arrow",
            "table-1-2--3.arrow",
        ] {
            assert_eq!(Name::read(bad), None, "{bad}");
        }
    }
}
