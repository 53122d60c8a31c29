//! Items that are made and never removed, each with a number, in pieces of one size: growing moves none of them, and no room
//! is kept for more than a piece. One may take the place of another.

/// Items in a piece: few enough for tables of a handful of flows, many enough for the list of pieces to stay in the cache.
pub const PIECE: usize = 256;

/// Items by number, from 0.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { pieces: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds one; its number is how many there were.
    pub fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(item),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(item);
                self.pieces.push(piece);
            }
        }
    }

    /// Puts one in the place of the one of a number, or adds it where that is how many there are.
    ///
    /// # Panics
    /// Where the number is larger than that.
    pub fn put(&mut self, number: usize, item: T) {
        if number == self.len() {
            self.push(item);
        } else {
            *self.at_mut(number) = item;
        }
    }

    /// How many there are before the first of which something does not hold, where it holds of none behind it.
    pub fn partition_point(&self, holds: impl Fn(&T) -> bool) -> usize {
        let begun = self.pieces.partition_point(|piece| piece.first().is_some_and(&holds));
        begun.checked_sub(1).map_or(0, |last| last * PIECE + self.pieces[last].partition_point(&holds))
    }

    /// Has two change places.
    ///
    /// # Panics
    /// Where there is none of one of the numbers.
    pub fn swap(&mut self, one: usize, other: usize) {
        let (low, high) = (one.min(other), one.max(other));
        if low / PIECE == high / PIECE {
            return self.pieces[low / PIECE].swap(low % PIECE, high % PIECE);
        }
        let (before, after) = self.pieces.split_at_mut(high / PIECE);
        std::mem::swap(&mut before[low / PIECE][low % PIECE], &mut after[0][high % PIECE]);
    }

    /// The one of a number.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    pub fn at(&self, number: usize) -> &T {
        &self.pieces[number / PIECE][number % PIECE]
    }

    /// The same, to change it.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    pub fn at_mut(&mut self, number: usize) -> &mut T {
        &mut self.pieces[number / PIECE][number % PIECE]
    }

    /// All of them in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }

    /// The same by value.
    pub fn into_items(self) -> impl Iterator<Item = T> {
        self.pieces.into_iter().flatten()
    }
}
