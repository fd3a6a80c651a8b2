//! Matrix products on slices: a checked face of the `gemm` crate.
//!
//! `gemm` finds FMA or NEON at run time. It splits rows and columns among threads and never a sum, so
//! the number of threads does not change the result.

use gemm::Parallelism;

/// A strided matrix in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub fn strided(data: &'a [f32], [rows, columns]: [usize; 2], strides: [usize; 2]) -> Self {
        let [row_stride, column_stride] = strides;
        assert!(
            fits(data.len(), rows, columns, row_stride, column_stride),
            "a {rows}x{columns} matrix exceeds its slice"
        );
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// Rows one after the other, `stride` numbers apart.
    pub fn with_stride(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self::strided(data, [rows, columns], [stride, 1])
    }

    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    pub fn size(self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Where a product goes: rows `stride` numbers apart.
pub struct Target<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    /// Add to what is there instead of overwriting it.
    pub add: bool,
}

fn fits(len: usize, rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_stride + (columns - 1) * column_stride < len
}

/// All threads of the current pool, or this one alone.
pub fn all_threads() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        n => Parallelism::Rayon(n),
    }
}

/// `target = a b` (or `+=`).
pub fn multiply(a: Matrix, b: Matrix, target: Target, parallelism: Parallelism) {
    assert_eq!(a.columns, b.rows, "the inner sizes of a product differ");
    assert!(
        target.stride >= b.columns && fits(target.data.len(), a.rows, b.columns, target.stride, 1),
        "a product exceeds its target"
    );
    // SAFETY: the target has room, is borrowed mutably and its rows don't overlap.
    unsafe { run(a, b, target.data.as_mut_ptr(), target.stride, target.add, parallelism) }
}

/// `a b` in new memory, row by row.
pub fn product(a: Matrix, b: Matrix, parallelism: Parallelism) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "the inner sizes of a product differ");
    let len = a.rows * b.columns;
    if a.columns == 0 {
        return vec![0.0; len];
    }
    let mut out = Vec::with_capacity(len);
    // SAFETY: there is room for `len` numbers, and a product that doesn't add writes all of them without
    // reading any.
    unsafe {
        run(a, b, out.as_mut_ptr(), b.columns, false, parallelism);
        out.set_len(len);
    }
    out
}

/// # Safety
/// `a.rows` rows of `b.columns` numbers, `stride` apart, may be written at `target` (and read, to add).
unsafe fn run(a: Matrix, b: Matrix, target: *mut f32, stride: usize, add: bool, parallelism: Parallelism) {
    // SAFETY: what is read lies inside its slice, as was checked when the matrices were made.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            target,
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
