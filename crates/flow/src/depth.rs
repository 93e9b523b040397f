//! How much may be under way.

/// How many batches may be under way beside one for each shard: 1 to
/// [`Depth::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth(usize);

impl Depth {
    /// The greatest depth: more would only hide that a stage is too slow.
    pub const MAX: usize = 65_536;

    /// A depth, or `None` outside `1..=Depth::MAX`.
    #[must_use]
    pub const fn new(depth: usize) -> Option<Self> {
        if 1 <= depth && depth <= Self::MAX { Some(Self(depth)) } else { None }
    }

    /// The depth as a number of batches.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depth_has_bounds() {
        assert_eq!(Depth::new(0), None);
        assert_eq!(Depth::new(Depth::MAX).map(Depth::get), Some(65_536));
        assert_eq!(Depth::new(Depth::MAX + 1), None);
    }
}
