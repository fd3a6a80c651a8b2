//! Exponentials for kernels: straight-line code that compiles to vector instructions.

/// `e^x` within 2 units in the last place; 0 below -87.3, infinite above 88.3 (Cephes' polynomial).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.3);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few bits so that its product is exact.
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let value = p * f32::from_bits(power);
    let value = if x < -87.3 { 0.0 } else { value };
    if x > 88.3 { f32::INFINITY } else { value }
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Cephes: a polynomial near zero, where the exponential would cancel.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let z = x * x;
    let p = -5.704_988e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z - 5.373_971_6e-2;
    let p = p * z + 1.333_144_2e-1;
    let p = p * z - 3.333_328e-1;
    let near = p * z * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { near } else { far.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accurate_everywhere() {
        for i in -20_000..=20_000 {
            let x = i as f32 * 5e-3;
            let wide = f64::from(x);
            for (name, found, expected) in [
                ("exp", exp(x), wide.exp()),
                ("sigmoid", sigmoid(x), 1.0 / (1.0 + (-wide).exp())),
                ("tanh", tanh(x), wide.tanh()),
            ] {
                let expected =
                    if expected < f64::from(f32::MIN_POSITIVE) && name != "tanh" { 0.0 } else { expected };
                let allowed = expected.abs() * 3e-7 + 2e-38;
                let right =
                    (f64::from(found) - expected).abs() <= allowed || (found == f32::INFINITY && wide > 88.3);
                assert!(right, "{name}({x}): found {found:e}, expected {expected:e}");
            }
        }
        assert_eq!([exp(f32::NEG_INFINITY), exp(0.0), tanh(0.0)], [0.0, 1.0, 0.0]);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
