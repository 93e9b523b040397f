//! Keys of trades and of changes: ids, or texts.

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array as _, UInt32Array};

use crate::ids::Key;
use crate::text::TextColumn;

/// The key of each trade of a batch in one table; null matches nothing. A clone
/// shares it.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Ids.
    Ids(UInt32Array),
    /// Texts of any length, or several values in one: what equal keys are, the
    /// sources of trades and table agree on.
    Texts(Arc<TextColumn>),
}

impl Keys {
    /// Keys of no trade.
    #[must_use]
    pub fn none() -> Self {
        Self::Ids(UInt32Array::from(Vec::<u32>::new()))
    }

    /// How many there are, null ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys as ids.
    ///
    /// # Panics
    /// If they are texts: a bug of the caller, who knows the table.
    #[must_use]
    pub fn ids(&self) -> &UInt32Array {
        match self {
            Self::Ids(ids) => ids,
            Self::Texts(_) => unreachable!("a table of ids"),
        }
    }

    /// Those of the rows from `start` on, `len` of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        match self {
            Self::Ids(ids) => Self::Ids(ids.slice(start, len)),
            Self::Texts(texts) => {
                let mut part = TextColumn::default();
                (start..start + len).for_each(|row| part.push_bytes(texts.get(row)));
                Self::Texts(Arc::new(part))
            }
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedKey {
    /// An id.
    Id(u32),
    /// A text, as [`Keys::Texts`] has it.
    Text(Box<[u8]>),
}

impl fmt::Display for OwnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Text(text) => write!(f, "{}", String::from_utf8_lossy(text)),
        }
    }
}

impl Keys {
    /// Whether a row has a key.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Ids(ids) => ids.is_valid(row),
            Self::Texts(texts) => texts.get(row).is_some(),
        }
    }

    /// The key of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<OwnedKey> {
        match self {
            Self::Ids(ids) => ids.is_valid(row).then(|| OwnedKey::Id(ids.value(row))),
            Self::Texts(texts) => texts.get(row).map(|text| OwnedKey::Text(text.into())),
        }
    }

    /// The keys of some rows of several sources, each by its source and its row
    /// there.
    ///
    /// # Panics
    /// If a row is out of bounds, or the sources differ in kind.
    #[must_use]
    pub fn gather(sources: &[&Self], rows: &[(usize, usize)]) -> Self {
        // No keys are of either kind.
        if !sources.iter().any(|keys| matches!(keys, Self::Texts(_)) && !keys.is_empty()) {
            let id = |&(source, row): &(usize, usize)| {
                let ids = sources[source].ids();
                ids.is_valid(row).then(|| ids.value(row))
            };
            return Self::Ids(rows.iter().map(id).collect());
        }
        let mut gathered = TextColumn::default();
        for &(source, row) in rows {
            match sources[source] {
                Self::Texts(texts) => gathered.push_bytes(texts.get(row)),
                Self::Ids(_) => unreachable!("keys of one table are of one kind"),
            }
        }
        Self::Texts(Arc::new(gathered))
    }
}

impl From<UInt32Array> for Keys {
    fn from(ids: UInt32Array) -> Self {
        Self::Ids(ids)
    }
}

impl From<TextColumn> for Keys {
    fn from(texts: TextColumn) -> Self {
        Self::Texts(Arc::new(texts))
    }
}

/// The keys of the rows that the changes of a lane are about, of the kind that
/// its table's [`Keys`] are.
#[derive(Clone, Debug)]
pub enum ChangeKeys {
    /// Ids.
    Ids(Vec<Key>),
    /// Texts; none is null.
    Texts(TextColumn),
}

impl Default for ChangeKeys {
    fn default() -> Self {
        Self::Ids(Vec::new())
    }
}

impl ChangeKeys {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.capacity() * size_of::<Key>(),
            Self::Texts(texts) => texts.memory_bytes(),
        }
    }

    /// Appends the keys of these changes of `other`. Where there is no key, here or
    /// there, the kinds may differ.
    ///
    /// # Panics
    /// If the kinds differ or a change is out of bounds.
    pub fn append_rows(&mut self, other: &Self, changes: &[u32]) {
        let numbers = changes.iter().map(|&change| change as usize);
        match (self.is_empty(), other) {
            _ if changes.is_empty() => return,
            (true, Self::Texts(_)) => *self = Self::Texts(TextColumn::default()),
            (true, Self::Ids(_)) => *self = Self::default(),
            (false, _) => {}
        }
        match (self, other) {
            (Self::Ids(ids), Self::Ids(other)) => ids.extend(numbers.map(|change| other[change])),
            (Self::Texts(texts), Self::Texts(other)) => {
                numbers.for_each(|change| texts.push_bytes(other.get(change)));
            }
            _ => unreachable!("the keys of one table have one kind"),
        }
    }

    /// The keys as ids.
    ///
    /// # Panics
    /// If they are texts: a bug of the caller, who knows the table.
    #[must_use]
    pub fn ids(&self) -> &[Key] {
        match self {
            Self::Ids(ids) => ids,
            Self::Texts(_) => unreachable!("a table of ids"),
        }
    }

    /// The key of a change.
    ///
    /// # Panics
    /// If there is no such change.
    #[must_use]
    pub fn get(&self, change: usize) -> OwnedKey {
        match self {
            Self::Ids(ids) => OwnedKey::Id(ids[change].0),
            Self::Texts(texts) => OwnedKey::Text(texts.get(change).unwrap_or_default().into()),
        }
    }

    /// The keys as texts; `None` if they are ids.
    #[must_use]
    pub fn texts(&self) -> Option<&TextColumn> {
        match self {
            Self::Ids(_) => None,
            Self::Texts(texts) => Some(texts),
        }
    }

    /// Appends an id.
    ///
    /// # Panics
    /// If the keys are texts: a bug of the caller, who knows the table.
    pub fn push(&mut self, id: Key) {
        match self {
            Self::Ids(ids) => ids.push(id),
            Self::Texts(_) => unreachable!("a table of ids"),
        }
    }
}

impl From<Vec<Key>> for ChangeKeys {
    fn from(ids: Vec<Key>) -> Self {
        Self::Ids(ids)
    }
}

impl From<TextColumn> for ChangeKeys {
    fn from(texts: TextColumn) -> Self {
        Self::Texts(texts)
    }
}
