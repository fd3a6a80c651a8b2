//! Which expressions a pass over the data visits, in which batches: a pure function of the data,
//! the seed and the epoch.

/// One row to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub referent: usize,
    /// Whose expression is asked; `referent` unless expressions were swapped.
    pub asked: usize,
    /// Index among the expressions of `asked`.
    pub expression: usize,
    /// Position in the pass, which the entry's random numbers depend on.
    pub position: u64,
}

/// Which expressions of a referent are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionChoice {
    /// One at random at each visit (the reference, quirk 36); training only.
    Random,
    /// The first that has a word.
    First,
    /// Every one, each its own row.
    All,
    /// This one; referents with fewer have no row.
    Index(usize),
}
