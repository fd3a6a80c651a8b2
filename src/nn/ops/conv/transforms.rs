//! The linear maps of Winograd's F(4x4, 3x3) along one axis and their transposes (Lavin and Gray 2016):
//! points 0, 1, -1, 2, -2 and infinity.

/// Values along a side of an input patch, and of a product.
pub const PATCH: usize = 6;
/// Values along a side of an output tile.
pub const TILE: usize = 4;
/// Products of a tile.
pub const POINTS: usize = PATCH * PATCH;

#[inline(always)]
pub fn input(d: [f32; 6]) -> [f32; 6] {
    [
        4.0 * d[0] - 5.0 * d[2] + d[4],
        -4.0 * d[1] - 4.0 * d[2] + d[3] + d[4],
        4.0 * d[1] - 4.0 * d[2] - d[3] + d[4],
        -2.0 * d[1] - d[2] + 2.0 * d[3] + d[4],
        2.0 * d[1] - d[2] - 2.0 * d[3] + d[4],
        4.0 * d[1] - 5.0 * d[3] + d[5],
    ]
}

#[inline(always)]
pub fn input_transposed(v: [f32; 6]) -> [f32; 6] {
    [
        4.0 * v[0],
        4.0 * (v[2] - v[1] + v[5]) + 2.0 * (v[4] - v[3]),
        -5.0 * v[0] - 4.0 * (v[1] + v[2]) - (v[3] + v[4]),
        (v[1] - v[2]) + 2.0 * (v[3] - v[4]) - 5.0 * v[5],
        v[0] + (v[1] + v[2]) + (v[3] + v[4]),
        v[5],
    ]
}

#[inline(always)]
pub fn output(m: [f32; 6]) -> [f32; 4] {
    let (a, b, c, d) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
    [m[0] + a + c, b + 2.0 * d, a + 4.0 * c, b + 8.0 * d + m[5]]
}

#[inline(always)]
pub fn output_transposed(y: [f32; 4]) -> [f32; 6] {
    let (even, odd) = (y[0] + y[2], y[1] + y[3]);
    let (even_2, odd_2) = (y[0] + 4.0 * y[2], 2.0 * y[1] + 8.0 * y[3]);
    [y[0], even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, y[3]]
}

#[inline(always)]
pub fn kernel(g: [f32; 3]) -> [f32; 6] {
    let (even, odd) = (g[0] + g[2], g[1]);
    let (even_2, odd_2) = (g[0] / 24.0 + g[2] / 6.0, g[1] / 12.0);
    [g[0] / 4.0, (even + odd) / -6.0, (even - odd) / -6.0, even_2 + odd_2, even_2 - odd_2, g[2]]
}

#[inline(always)]
pub fn kernel_transposed(u: [f32; 6]) -> [f32; 3] {
    let (a, b, c, d) = (u[1] + u[2], u[1] - u[2], u[3] + u[4], u[3] - u[4]);
    [u[0] / 4.0 - a / 6.0 + c / 24.0, d / 12.0 - b / 6.0, c / 6.0 - a / 6.0 + u[5]]
}

/// Tiles, or kernels, that are transformed side by side.
pub const LANES: usize = 16;
/// A square of values, each for all lanes.
pub type Square<const N: usize> = [[[f32; LANES]; N]; N];

/// Applies `f` along both axes, lane by lane.
#[inline(always)]
pub fn both_axes<const A: usize, const B: usize>(
    from: &Square<A>,
    f: impl Fn([f32; A]) -> [f32; B],
) -> Square<B> {
    let mut half = [[[0f32; LANES]; A]; B];
    for column in 0..A {
        for lane in 0..LANES {
            let mapped = f(std::array::from_fn(|row| from[row][column][lane]));
            for row in 0..B {
                half[row][column][lane] = mapped[row];
            }
        }
    }
    let mut to = [[[0f32; LANES]; B]; B];
    for row in 0..B {
        for lane in 0..LANES {
            let mapped = f(std::array::from_fn(|column| half[row][column][lane]));
            for column in 0..B {
                to[row][column][lane] = mapped[column];
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit<const N: usize>(i: usize) -> [f32; N] {
        std::array::from_fn(|j| f32::from(u8::from(i == j)))
    }

    /// `y_t = sum_j d_{t + j} g_j` for all pairs of units.
    #[test]
    fn four_outputs_of_three_taps() {
        for (i, j) in (0..6).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let (d, g) = (input(unit(i)), kernel(unit(j)));
            let found = output(std::array::from_fn(|k| d[k] * g[k]));
            let expected: [f32; 4] = std::array::from_fn(|t| f32::from(u8::from(t + j == i)));
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{i} {j}: {found:?}");
        }
    }

    #[test]
    fn transposes_are_transposes() {
        let same = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} {b}");
        for i in 0..6 {
            (0..6).for_each(|j| same(input(unit(i))[j], input_transposed(unit(j))[i]));
            (0..4).for_each(|j| same(output(unit(i))[j], output_transposed(unit(j))[i]));
            (0..3).for_each(|j| same(kernel(unit(j))[i], kernel_transposed(unit(i))[j]));
        }
    }
}
