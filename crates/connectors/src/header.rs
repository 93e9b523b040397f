//! The columns of an input: what each one is to us.

use std::sync::Arc;

use tradejoin_model::{KnownColumn, KnownKind};

use crate::error::OpenError;

/// The names of an input's columns, each with what we know of it.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) names: Vec<String>,
    pub(crate) known: Vec<Option<&'static KnownColumn>>,
}

impl Header {
    /// # Errors
    /// If a column stands there twice, be it under two names.
    pub(crate) fn new(
        source_name: &Arc<str>,
        names: Vec<String>,
        columns: &'static [KnownColumn],
    ) -> Result<Self, OpenError> {
        let known: Vec<_> = names.iter().map(|name| columns.iter().find(|c| c.is_named(name))).collect();
        let mut order: Vec<usize> = (0..names.len()).collect();
        let identity = |i: usize| known[i].map_or(names[i].as_str(), |column| column.name);
        order.sort_by_key(|&i| (identity(i), i));
        match order.windows(2).find(|pair| identity(pair[0]) == identity(pair[1])) {
            None => Ok(Self { names, known }),
            Some(pair) => Err(OpenError::DuplicateColumn {
                source_name: Arc::clone(source_name),
                first: names[pair[0]].clone(),
                second: names[pair[1]].clone(),
            }),
        }
    }

    /// Where the column `name` stands, under whichever of its names.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let known = |i: &usize| self.known[*i].is_some_and(|column| column.is_named(name));
        (0..self.names.len()).find(known).or_else(|| self.names.iter().position(|n| n == name))
    }

    /// # Errors
    /// If there is no such column.
    pub(crate) fn require(
        &self,
        source_name: &Arc<str>,
        name: &str,
        columns: &[KnownColumn],
    ) -> Result<usize, OpenError> {
        self.find(name).ok_or_else(|| {
            let aliases = columns.iter().find(|c| c.name == name).map_or(&[][..], |c| c.aliases);
            OpenError::MissingColumn {
                source_name: Arc::clone(source_name),
                column: name.to_owned(),
                aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
                found: self.names.clone(),
            }
        })
    }

    /// What the values of a column are: text unless it is known.
    pub(crate) fn kind(&self, column: usize) -> KnownKind {
        self.known[column].map_or(KnownKind::Text, |known| known.kind)
    }
}
