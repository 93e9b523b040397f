//! Text values of a fixed size, so that an answer is moved and never allocated.

use arrow_buffer::NullBuffer;

use crate::keyed::{IN_GENERATION, Slot};
use crate::routed::Repeat;

/// One text value in 24 bytes: up to 23 bytes are inline, a longer text is a
/// reference into the heap of the [`TextColumn`] that holds the view.
///
/// It is the layout of Arrow's `Utf8View` with more room inline: an OCC symbol
/// (at most 21 bytes) needs no heap, no reference count and no second cache
/// line. Unused inline bytes are zero, so that equal inline texts are equal
/// bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct TextView {
    /// Inline: the text, then zeros, then its length in the last byte.
    /// On the heap: offset (8 bytes) and length (4 bytes), little-endian, zeros,
    /// then [`LONG`]. Null: zeros, then [`NULL`].
    bytes: [u8; 24],
}

const _: () = assert!(size_of::<TextView>() == 24 && align_of::<TextView>() == 8);

const TAG: usize = 23;
const LONG: u8 = 0xFF;
const NULL: u8 = 0xFE;

impl TextView {
    /// The longest text that is held inline, in bytes.
    pub const INLINE_MAX: usize = TAG;
    /// The absent value.
    pub const NULL: Self = Self::tagged(NULL);
    /// The empty text.
    pub const EMPTY: Self = Self::tagged(0);

    const fn tagged(tag: u8) -> Self {
        let mut bytes = [0; 24];
        bytes[TAG] = tag;
        Self { bytes }
    }

    /// A text of at most [`Self::INLINE_MAX`] bytes, or `None` if it is longer.
    #[inline]
    #[must_use]
    pub fn inline(text: &str) -> Option<Self> {
        Self::inline_bytes(text.as_bytes())
    }

    #[inline]
    fn inline_bytes(text: &[u8]) -> Option<Self> {
        if text.len() > Self::INLINE_MAX {
            return None;
        }
        let mut bytes = [0; 24];
        bytes[..text.len()].copy_from_slice(text);
        // At most 23.
        bytes[TAG] = text.len() as u8;
        Some(Self { bytes })
    }

    /// The first `len` of `text`, which the caller knows to be ASCII.
    #[inline]
    pub(crate) fn inline_ascii<const N: usize>(text: &[u8; N], len: usize) -> Self {
        const { assert!(N <= TAG) };
        debug_assert!(text[..len].is_ascii());
        let mut bytes = [0; 24];
        bytes[..len].copy_from_slice(&text[..len]);
        bytes[TAG] = len as u8;
        Self { bytes }
    }

    /// A text of `len` bytes of ASCII, at most 21, as the digits of two numbers to
    /// the base 256, the first the lowest; the digits behind it are zero.
    #[inline]
    pub(crate) fn of_digits(low: u128, high: u64, len: usize) -> Self {
        debug_assert!(len <= 21);
        let mut bytes = [0; 24];
        // Three stores; slices of 16 bytes and 8 would be copied by a call.
        let (words, _) = bytes.as_chunks_mut();
        words[0] = (low as u64).to_le_bytes();
        words[1] = ((low >> 64) as u64).to_le_bytes();
        words[2] = (high | (len as u64) << (8 * 7)).to_le_bytes();
        Self { bytes }
    }

    fn long(offset: usize, len: usize) -> Self {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&(offset as u64).to_le_bytes());
        // `TextColumn::push` splits off what is longer: see its panic.
        bytes[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        bytes[TAG] = LONG;
        Self { bytes }
    }

    /// Whether the value is absent.
    #[inline]
    #[must_use]
    pub const fn is_null(&self) -> bool {
        self.bytes[TAG] == NULL
    }

    #[inline]
    const fn is_long(&self) -> bool {
        self.bytes[TAG] == LONG
    }

    /// Where a long text stands in its heap.
    #[inline]
    fn range(&self) -> std::ops::Range<usize> {
        let [offset, len, _] = self.words();
        offset as usize..offset as usize + (len as u32) as usize
    }

    /// The inline bytes; empty for null and for a text on the heap.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self.bytes[TAG] {
            NULL | LONG => &[],
            len => &self.bytes[..usize::from(len)],
        }
    }

    /// The whole view as three little-endian words, for hashing and checksums
    /// of inline texts.
    #[inline]
    #[must_use]
    pub fn words(&self) -> [u64; 3] {
        let (words, _) = self.bytes.as_chunks();
        [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]), u64::from_le_bytes(words[2])]
    }
}

impl std::fmt::Debug for TextView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes[TAG] {
            NULL => f.write_str("null"),
            LONG => write!(f, "heap[{:?}]", self.range()),
            _ => write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes())),
        }
    }
}

/// A column of nullable texts: views of 24 bytes, and a heap for long ones.
#[derive(Clone, Debug, Default)]
pub struct TextColumn {
    views: Vec<TextView>,
    heap: Vec<u8>,
    /// Bytes of `heap` that no view refers to any more.
    garbage: usize,
}

impl TextColumn {
    /// How many values there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Forgets all values and keeps the memory.
    pub fn clear(&mut self) {
        self.views.clear();
        self.heap.clear();
        self.garbage = 0;
    }

    /// Grows by null values, or shrinks, to `len` values.
    pub fn resize(&mut self, len: usize) {
        self.views.resize(len, TextView::NULL);
    }

    /// The views, in order.
    #[inline]
    #[must_use]
    pub fn views(&self) -> &[TextView] {
        &self.views
    }

    /// Whether every text is inline.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.heap.is_empty()
    }

    /// The bytes of a value, or `None` for null.
    ///
    /// # Panics
    /// If `row` is not below [`Self::len`].
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        self.bytes_of(&self.views[row])
    }

    #[inline]
    fn bytes_of<'a>(&'a self, view: &'a TextView) -> Option<&'a [u8]> {
        match view.bytes[TAG] {
            NULL => None,
            LONG => Some(&self.heap[view.range()]),
            len => Some(&view.bytes[..usize::from(len)]),
        }
    }

    /// The values in the layout of Arrow: their bytes end to end, where each value
    /// begins and the last ends, and which are not null, unless all are.
    ///
    /// # Panics
    /// If the values are of 2 GiB or more in all, as with Arrow's own builder.
    pub(crate) fn to_parts(&self) -> (Vec<u8>, Vec<i32>, Option<NullBuffer>) {
        // Whole views are copied, which takes three stores; what is behind a text
        // is overwritten by the next.
        let lens = self.views.iter().map(|view| self.bytes_of(view).map_or(0, <[u8]>::len));
        let mut bytes = vec![0; lens.sum::<usize>() + size_of::<TextView>()];
        let mut ends = Vec::with_capacity(self.views.len() + 1);
        let mut end = 0;
        ends.push(0);
        for view in &self.views {
            match view.bytes[TAG] {
                NULL => {}
                LONG => {
                    let text = &self.heap[view.range()];
                    bytes[end..end + text.len()].copy_from_slice(text);
                    end += text.len();
                }
                len => {
                    bytes[end..end + size_of::<TextView>()].copy_from_slice(&view.bytes);
                    end += usize::from(len);
                }
            }
            ends.push(i32::try_from(end).expect("texts of a block of less than 2 GiB"));
        }
        bytes.truncate(end);
        let has_nulls = self.views.iter().any(TextView::is_null);
        let nulls = has_nulls.then(|| self.views.iter().map(|view| !view.is_null()).collect());
        (bytes, ends, nulls)
    }

    /// Appends a value.
    ///
    /// # Panics
    /// If `text` is of 4 GiB or more.
    pub fn push(&mut self, text: Option<&str>) {
        self.push_bytes(text.map(str::as_bytes));
    }

    /// Appends a value that need not be text: a key, or a value in an encoding.
    ///
    /// # Panics
    /// If `bytes` is of 4 GiB or more.
    pub fn push_bytes(&mut self, bytes: Option<&[u8]>) {
        let view = self.view_of(bytes);
        self.views.push(view);
    }

    /// Overwrites a value, as [`Self::set_all`] does.
    ///
    /// # Panics
    /// If `row` is not below [`Self::len`], or `bytes` is of 4 GiB or more.
    pub(crate) fn set(&mut self, row: usize, bytes: Option<&[u8]>) {
        let view = self.view_of(bytes);
        self.replace(row, view);
    }

    fn view_of(&mut self, bytes: Option<&[u8]>) -> TextView {
        match bytes {
            Some(bytes) => self.store(bytes, TextView::inline_bytes(bytes)),
            None => TextView::NULL,
        }
    }

    /// Appends an inline or null view.
    ///
    /// # Panics
    /// In a debug build, if the view belongs to the heap of another column.
    #[inline]
    pub fn push_view(&mut self, view: TextView) {
        debug_assert!(!view.is_long(), "a view on a heap is copied with `gather`");
        self.views.push(view);
    }

    /// Appends the value of each slot: of `generation` if it has the mark
    /// [`IN_GENERATION`], otherwise of `own`; null for [`MISS`](crate::MISS).
    pub(crate) fn gather(&mut self, own: &Self, generation: Option<&Self>, slots: &[Slot]) {
        let all_inline =
            own.heap.is_empty() && generation.is_none_or(|generation| generation.heap.is_empty());
        match generation {
            None if all_inline => self.views.extend(slots.iter().map(|&slot| own.view_at(slot))),
            Some(generation) if all_inline => {
                self.views.extend(slots.iter().map(|&slot| match slot & IN_GENERATION {
                    0 => own.view_at(slot),
                    _ => generation.view_at(slot ^ IN_GENERATION),
                }));
            }
            _ => {
                for &slot in slots {
                    let view = match generation {
                        Some(generation) if slot & IN_GENERATION != 0 => {
                            self.adopt(generation.view_at(slot ^ IN_GENERATION), generation)
                        }
                        _ => self.adopt(own.view_at(slot), own),
                    };
                    self.views.push(view);
                }
            }
        }
    }

    /// The view of a slot, or null: no table has the slot of a miss.
    #[inline]
    fn view_at(&self, slot: Slot) -> TextView {
        self.views.get(slot as usize).copied().unwrap_or(TextView::NULL)
    }

    /// Overwrites, for each of `places`, the value at the first with that at the
    /// second of `other`. Memory of long values that are replaced is reclaimed once it
    /// is more than half of the heap and a third of the memory of the views: so the heap
    /// holds at most twice the bytes in use, or a third of the views' memory beside
    /// them, and what a replacement costs grows with its bytes, not with the column.
    ///
    /// # Panics
    /// If a place is out of bounds.
    pub(crate) fn set_all(&mut self, places: impl Iterator<Item = (usize, usize)>, other: &Self) {
        if self.heap.is_empty() && other.heap.is_empty() {
            places.for_each(|(to, from)| self.views[to] = other.views[from]);
        } else {
            for (to, from) in places {
                let view = self.adopt(other.views[from], other);
                self.replace(to, view);
            }
        }
    }

    /// Overwrites the values at these places with inline or null views, as
    /// [`Self::set_all`] does.
    ///
    /// # Panics
    /// If a place is out of bounds.
    #[inline]
    pub(crate) fn set_views(&mut self, places: impl Iterator<Item = (usize, TextView)>) {
        if self.heap.is_empty() {
            places.for_each(|(to, view)| self.views[to] = view);
        } else {
            places.for_each(|(to, view)| self.replace(to, view));
        }
    }

    fn replace(&mut self, row: usize, view: TextView) {
        let old = std::mem::replace(&mut self.views[row], view);
        if old.is_long() {
            self.garbage += old.range().len();
            if self.garbage == self.heap.len() {
                // No walk: nothing is in use, and the column is inline again.
                (self.heap, self.garbage) = (Vec::new(), 0);
            } else if self.garbage > self.garbage_max() {
                self.compact();
            }
        }
    }

    /// Scatters values of `other`: value `i` goes to `rows[i]`, and what is behind
    /// those of `rows` goes nowhere.
    ///
    /// # Panics
    /// If a row is out of bounds, or `other` is shorter than `rows`.
    pub fn scatter(&mut self, rows: &[u32], other: &Self) {
        let views = &other.views[..rows.len()];
        if other.heap.is_empty() {
            for (&row, &view) in rows.iter().zip(views) {
                self.views[row as usize] = view;
            }
        } else {
            for (&row, &view) in rows.iter().zip(views) {
                self.views[row as usize] = self.adopt(view, other);
            }
        }
    }

    /// Gives each row the value that another one has, a long text in a copy.
    pub(crate) fn repeat(&mut self, repeats: &[Repeat]) {
        for repeat in repeats {
            let mut view = self.views[repeat.of as usize];
            if view.is_long() {
                let start = self.heap.len();
                self.heap.extend_from_within(view.range());
                view = TextView::long(start, view.range().len());
            }
            self.views[repeat.row as usize] = view;
        }
    }

    /// The view for a value of another column, its long text copied over.
    #[inline]
    fn adopt(&mut self, view: TextView, other: &Self) -> TextView {
        if view.is_long() { self.store(&other.heap[view.range()], None) } else { view }
    }

    fn store(&mut self, text: &[u8], inline: Option<TextView>) -> TextView {
        inline.unwrap_or_else(|| {
            assert!(u32::try_from(text.len()).is_ok(), "a text of 4 GiB or more");
            let view = TextView::long(self.heap.len(), text.len());
            self.heap.extend_from_slice(text);
            view
        })
    }

    /// As many bytes of the heap may be unused: to reclaim them takes a walk through all
    /// views and a copy of what is in use, neither of which is to be longer.
    fn garbage_max(&self) -> usize {
        (self.heap.len() / 2).max(self.views.len() * size_of::<TextView>() / 3)
    }

    /// Copies the live part of the heap to a new one.
    fn compact(&mut self) {
        let mut heap = Vec::with_capacity(self.heap.len() - self.garbage);
        for view in self.views.iter_mut().filter(|view| view.is_long()) {
            let range = view.range();
            *view = TextView::long(heap.len(), range.len());
            heap.extend_from_slice(&self.heap[range]);
        }
        self.heap = heap;
        self.garbage = 0;
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.views.capacity() * size_of::<TextView>() + self.heap.capacity()
    }
}

impl FromIterator<TextView> for TextColumn {
    /// A column of inline and null views.
    fn from_iter<I: IntoIterator<Item = TextView>>(views: I) -> Self {
        let views: Vec<_> = views.into_iter().collect();
        debug_assert!(!views.iter().any(TextView::is_long), "a view on a heap belongs to its column");
        Self { views, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
