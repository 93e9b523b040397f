//! What is remembered of bytes on their way to a file, to know them again.

use std::hash::Hasher as _;

use tradejoin_flow::Fingerprint;
use twox_hash::XxHash64;

/// Bytes before a place that are hashed, to see that nobody has edited them.
pub(crate) const TAIL_BYTES: usize = 64 << 10;

/// What is remembered.
pub(crate) enum Trail {
    /// Nothing.
    None,
    /// The last bytes.
    Tail(Vec<u8>),
    /// The hash of all.
    Whole(XxHash64),
}

impl Trail {
    /// The hash of all bytes.
    pub(crate) fn whole() -> Self {
        Self::Whole(XxHash64::with_seed(0))
    }

    pub(crate) fn note(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Tail(tail) => {
                let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
                if tail.len() + bytes.len() > 2 * TAIL_BYTES {
                    // Of what was there, as much as fills up the tail.
                    let stays = (TAIL_BYTES - bytes.len()).min(tail.len());
                    tail.drain(..tail.len() - stays);
                }
                tail.extend_from_slice(bytes);
            }
            Self::Whole(hasher) => hasher.write(bytes),
        }
    }

    /// The last bytes, at most [`TAIL_BYTES`].
    pub(crate) fn tail(&self) -> &[u8] {
        match self {
            Self::Tail(tail) => &tail[tail.len().saturating_sub(TAIL_BYTES)..],
            Self::None | Self::Whole(_) => &[],
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        match self {
            Self::Whole(hasher) => hasher.finish(),
            Self::None | Self::Tail(_) => 0,
        }
    }
}

/// What the last of `bytes` bytes are known by.
pub(crate) fn fingerprint(tail: &[u8], bytes: u64) -> Option<Fingerprint> {
    let len = tail.len() as u64;
    let hash = XxHash64::oneshot(0, tail);
    (len > 0).then(|| Fingerprint { from: bytes - len, bytes: len, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_all_bytes() {
        for steps in
            [vec![1], vec![TAIL_BYTES], vec![7, 3 * TAIL_BYTES, 5], vec![40_000; 9], vec![1_000; 300]]
        {
            let (mut trail, mut whole, mut all) = (Trail::Tail(Vec::new()), Trail::whole(), Vec::new());
            for (at, len) in steps.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 31 + at) as u8).collect();
                trail.note(&bytes);
                whole.note(&bytes);
                all.extend(bytes);
                assert!(trail.tail() == &all[all.len().saturating_sub(TAIL_BYTES)..]);
            }
            assert_eq!(whole.hash(), XxHash64::oneshot(0, &all));
        }
    }
}
