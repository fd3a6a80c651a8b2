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

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
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
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(
        target.stride >= n && fits(target.data.len(), m, n, target.stride, 1),
        "a product exceeds its target"
    );
    // SAFETY: every element that is read or written lies inside its slice (checked here and when the
    // matrices were made), the target is borrowed mutably and its rows don't overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.data.as_mut_ptr(),
            1,
            target.stride as isize,
            target.add,
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
