use candle_core::{Device, Result, Tensor, Var};
use partial_res::nn;
use std::time::Instant;
fn bench(mut f: impl FnMut()) -> f64 {
    f();
    let t0 = Instant::now();
    let mut best = f64::MAX;
    let mut n = 0;
    while n < 3 || (t0.elapsed().as_secs_f64() < 0.3 && n < 50) {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64() * 1e3);
        n += 1
    }
    best
}
fn main() -> Result<()> {
    let d = Device::Cpu;
    for (b, ci, co, k, s, h) in [
        (16usize, 3usize, 8usize, 3usize, 1usize, 64usize),
        (16, 8, 16, 3, 2, 64),
        (16, 16, 8, 1, 1, 32),
        (16, 32, 64, 3, 1, 16),
        (16, 64, 128, 3, 2, 8),
        (16, 128, 128, 3, 1, 4),
        (2, 32, 64, 3, 2, 320),
        (2, 128, 256, 3, 1, 80),
        (2, 512, 1024, 3, 1, 20),
        (2, 1024, 512, 1, 1, 20),
    ] {
        let x = Var::randn(0f32, 1., (b, ci, h, h), &d)?;
        let w = Var::randn(0f32, 1., (co, ci, k, k), &d)?;
        let gf = 2e-6 * (b * co * ci * k * k * (h / s) * (h / s)) as f64;
        let ours = bench(|| {
            nn::ops::conv2d(&x, &w, s, k / 2).unwrap();
        });
        let stock = bench(|| {
            x.conv2d(&w, k / 2, s, 1, 1).unwrap();
        });
        let ours_b = bench(|| {
            nn::ops::conv2d(&x, &w, s, k / 2).unwrap().sum_all().unwrap().backward().unwrap();
        });
        let stock_b = bench(|| {
            x.conv2d(&w, k / 2, s, 1, 1).unwrap().sum_all().unwrap().backward().unwrap();
        });
        println!(
            "b{b} {ci}->{co} k{k} s{s} @{h}: fwd {ours:.3} ms ({:.0} GF/s) stock {stock:.3}; fwd+bwd {ours_b:.3} ({:.0}) stock {stock_b:.3}",
            gf / ours,
            3. * gf / ours_b
        );
    }
    let _ = Tensor::zeros(1, candle_core::DType::F32, &d)?;
    Ok(())
}
