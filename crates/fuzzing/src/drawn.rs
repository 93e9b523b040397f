//! Values drawn from the bytes of an input: any bytes are some.

/// The bytes that are left; behind the last one come zeros.
pub(crate) struct Drawn<'b>(&'b [u8]);

impl<'b> Drawn<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (first, rest) = self.0.split_at(N.min(self.0.len()));
        bytes[..first.len()].copy_from_slice(first);
        self.0 = rest;
        bytes
    }

    /// A short text of anything.
    pub(crate) fn text(&mut self) -> String {
        let len = usize::from(self.below(24)).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// A value, or none.
    pub(crate) fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(4) > 0).then(|| value(self))
    }
}
