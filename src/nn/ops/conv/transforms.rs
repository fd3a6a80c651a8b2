//! The linear maps of Winograd's convolutions along one axis, and their transposes (Lavin and Gray 2016).

/// How T outputs of 3 taps come from P products.
pub trait Scheme<const P: usize, const T: usize> {
    fn input(d: [f32; P]) -> [f32; P];
    fn output(m: [f32; P]) -> [f32; T];
    fn kernel(g: [f32; 3]) -> [f32; P];
}

/// F(4, 3) with the points 0, 1, -1, 2, -2 and infinity.
pub struct Four;

impl Scheme<6, 4> for Four {
    #[inline(always)]
    fn input(d: [f32; 6]) -> [f32; 6] {
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
    fn output(m: [f32; 6]) -> [f32; 4] {
        let (a, b, c, d) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
        [m[0] + a + c, b + 2.0 * d, a + 4.0 * c, b + 8.0 * d + m[5]]
    }

    #[inline(always)]
    fn kernel(g: [f32; 3]) -> [f32; 6] {
        let (even, odd) = (g[0] + g[2], g[1]);
        let (even_2, odd_2) = (g[0] / 24.0 + g[2] / 6.0, g[1] / 12.0);
        [g[0] / 4.0, (even + odd) / -6.0, (even - odd) / -6.0, even_2 + odd_2, even_2 - odd_2, g[2]]
    }
}

/// F(2, 3) with the points 0, 1, -1 and infinity: hardly less accurate than the plain sum.
pub struct Two;

impl Scheme<4, 2> for Two {
    #[inline(always)]
    fn input(d: [f32; 4]) -> [f32; 4] {
        [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]
    }

    #[inline(always)]
    fn output(m: [f32; 4]) -> [f32; 2] {
        [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
    }

    #[inline(always)]
    fn kernel(g: [f32; 3]) -> [f32; 4] {
        let (even, odd) = (0.5 * (g[0] + g[2]), 0.5 * g[1]);
        [g[0], even + odd, even - odd, g[2]]
    }
}

/// Stride 2: of the 9 inputs of 4 outputs those at even places meet the outer taps as F(4, 2) with the points 0,
/// 1, -1, 2 and infinity, those at odd places the middle tap as they are.
pub struct Strided;

impl Scheme<9, 4> for Strided {
    #[inline(always)]
    fn input(d: [f32; 9]) -> [f32; 9] {
        let e = [d[0], d[2], d[4], d[6], d[8]];
        [
            2.0 * (e[0] - e[2]) - e[1] + e[3],
            e[3] - e[2] - 2.0 * e[1],
            2.0 * e[1] - 3.0 * e[2] + e[3],
            e[3] - e[1],
            2.0 * (e[1] - e[3]) - e[2] + e[4],
            d[1],
            d[3],
            d[5],
            d[7],
        ]
    }

    #[inline(always)]
    fn output(m: [f32; 9]) -> [f32; 4] {
        let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
        [
            m[0] + sum + m[3] + m[5],
            difference + 2.0 * m[3] + m[6],
            sum + 4.0 * m[3] + m[7],
            difference + 8.0 * m[3] + m[4] + m[8],
        ]
    }

    #[inline(always)]
    fn kernel(g: [f32; 3]) -> [f32; 9] {
        let [a, b] = [g[0], g[2]];
        [a / 2.0, (a + b) / -2.0, (b - a) / 6.0, a / 6.0 + b / 3.0, b, g[1], g[1], g[1], g[1]]
    }
}

/// The transposes, for the gradients.
impl Two {
    #[inline(always)]
    pub fn output_transposed(y: [f32; 2]) -> [f32; 4] {
        [y[0], y[0] + y[1], y[0] - y[1], -y[1]]
    }

    #[inline(always)]
    pub fn kernel_transposed(u: [f32; 4]) -> [f32; 3] {
        let (sum, difference) = (0.5 * (u[1] + u[2]), 0.5 * (u[1] - u[2]));
        [u[0] + sum, difference, sum + u[3]]
    }
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

    fn check<S: Scheme<P, T>, const P: usize, const T: usize>(stride: usize) {
        // `y_t = sum_j d_{stride t + j} g_j` for all pairs of units.
        for (i, j) in (0..P).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let (d, g) = (S::input(unit(i)), S::kernel(unit(j)));
            let found = S::output(std::array::from_fn(|k| d[k] * g[k]));
            let expected: [f32; T] = std::array::from_fn(|t| f32::from(u8::from(stride * t + j == i)));
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{i} {j}: {found:?}");
        }
    }

    #[test]
    fn three_taps() {
        check::<Four, 6, 4>(1);
        check::<Two, 4, 2>(1);
        check::<Strided, 9, 4>(2);
    }

    #[test]
    fn transposes_are_transposes() {
        for i in 0..4 {
            (0..2).for_each(|j| assert_eq!(Two::output(unit(i))[j], Two::output_transposed(unit(j))[i]));
            (0..3).for_each(|j| assert_eq!(Two::kernel(unit(j))[i], Two::kernel_transposed(unit(i))[j]));
        }
    }
}
