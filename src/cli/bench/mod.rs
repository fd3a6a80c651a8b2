//! `partial-res bench`: speed of a configuration's network.

mod golden;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use partial_res::bench::{Phase, Sizes, evaluation, matrix_rate, median, peak_memory, preparation, training};
use partial_res::config::Config;
use partial_res::model::ModelError;
use partial_res::report::{Log, Table};
use serde_json::{Value, json};

use super::shared::{ConfigArgs, DeviceArgs, make_shapes};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Convolutions, encoding, decoding
    Eval,
    /// Forward, backward, update
    Train,
    Both,
    /// Preparing samples of the configuration's data for training, on one thread
    Data,
}

/// Time evaluation and training of a configuration's network on noise, or check that it computes right
///
/// Seconds are medians. The share is that of the rate of large f32 matrix products measured just before; an
/// algorithm that multiplies less than the plain one (Winograd's) can exceed 100 %. Processor seconds
/// are those of all threads: on a busy machine they say more than the clock.
///
/// With --golden nothing is timed: networks whose weights follow from a rule are run on the device, and what
/// they answer, their activations, losses and gradients and the first steps of a training are compared with
/// values that were recorded from the reference. On a GPU TF32 is off for that.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res bench res/refcoco-unc --batch 4\n  RAYON_NUM_THREADS=1 partial-res bench res/refshapes --batch 12 --expressions 3\n  partial-res bench res/refcoco-unc --what data --batch 200\n  partial-res bench --golden tests/golden --device cuda"
)]
pub struct BenchArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Images in a batch; of data, samples
    #[arg(long, default_value = "1")]
    batch: NonZeroUsize,
    /// Expressions of each image
    #[arg(long, default_value = "1")]
    expressions: NonZeroUsize,
    /// Timed runs, after one that is not timed
    #[arg(long, default_value = "5")]
    runs: NonZeroUsize,
    #[arg(long, value_enum, default_value_t = What::Both)]
    what: What,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the golden data of this folder (tests/golden of the repository)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "sets", "batch", "expressions", "runs", "what", "json"])]
    golden: Option<PathBuf>,
    /// Of the golden data only this case, as often as needed
    #[arg(long = "case", value_name = "NAME", requires = "golden")]
    cases: Vec<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &BenchArgs) -> Result<()> {
    const WORDS: usize = 64;
    let log = Log::stdout();
    if let Some(folder) = &args.golden {
        return golden::run(folder, &args.cases, &args.device.open(&log)?, &log);
    }
    let config = args.config.load()?;
    if args.what == What::Data {
        return data(args, &config, &log);
    }
    let device = args.device.open(&log)?;
    let sizes = Sizes {
        images: args.batch.get(),
        expressions: args.expressions.get(),
        words: WORDS,
        runs: args.runs.get(),
    };
    // The rate of the products that are timed.
    candle_core::cuda::set_gemm_reduced_precision_f32(config.train.tf32);
    let rate = matrix_rate(&device, DType::F32)?;
    // CPUs have no such products.
    let rate_bf16 = if device.is_cuda() { Some(matrix_rate(&device, DType::BF16)?) } else { None };
    let Sizes { images, expressions, runs, .. } = sizes;
    log.line(format!(
        "{}: {images} images of {} pixels, {expressions} expressions each; medians of {runs} runs",
        args.config.name(),
        config.data.image_size
    ))?;
    let in_bf16 = rate_bf16.map_or(String::new(), |rate| format!(", {:.1} in bf16", rate / 1e9));
    let f32 = if device.is_cuda() && config.train.tf32 { "TF32" } else { "f32" };
    log.line(format!("matrix products: {:.1} GFLOP/s in {f32}{in_bf16}", rate / 1e9))?;
    let mut table = Table::new(["", "seconds", "processor", "images/s", "GFLOP/s", "share %"]);
    let mut parts = serde_json::Map::new();
    type Timed = fn(&Config, &Sizes, &Device) -> Result<Vec<Phase>, ModelError>;
    let wanted: [(&str, bool, Timed); 2] = [
        ("evaluation", args.what != What::Train, evaluation),
        ("training", args.what != What::Eval, training),
    ];
    for (name, _, timed) in wanted.into_iter().filter(|(_, wanted, _)| *wanted) {
        let phases = timed(&config, &sizes, &device)?;
        let whole = whole(name, &phases);
        table.rule();
        for phase in phases.iter().chain([&whole]) {
            table.row(row(phase, images, rate));
        }
        parts.extend(
            phases.iter().chain([&whole]).map(|phase| (phase.name.to_owned(), figures(phase, images))),
        );
    }
    log.line(table.to_string())?;
    let memory = peak_memory();
    if let Some(bytes) = memory {
        log.line(format!("peak memory of the process: {:.2} GiB", bytes as f64 / (1u64 << 30) as f64))?;
    }
    let all = json!({
        "config": args.config.name(), "image_size": config.data.image_size, "images": images,
        "expressions": expressions, "runs": runs, "matrix_flops": rate, "matrix_flops_bf16": rate_bf16,
        "peak_memory": memory, "parts": parts,
    });
    write(args.json.as_deref(), &all)
}

fn write(path: Option<&Path>, figures: &Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_vec_pretty(figures)?)
        .with_context(|| format!("can't write {}", path.display()))
}

/// Samples of training, from files to a batch.
fn data(args: &BenchArgs, config: &Config, log: &Log) -> Result<()> {
    make_shapes(config, log)?;
    let (samples, runs) = (args.batch.get(), args.runs.get());
    let phases = preparation(config, samples, runs)?;
    log.line(format!("{}: {samples} samples, one thread; medians of {runs} runs", config.data.dataset))?;
    let mut table = Table::new(["", "ms a sample", "processor"]);
    let whole = whole("all", &phases);
    let each = |values: &[f64]| format!("{:.3}", 1e3 * median(values) / samples as f64);
    for phase in phases.iter().chain([&whole]) {
        table.row([phase.name.to_owned(), each(&phase.seconds), each(&phase.cpu_seconds)]);
    }
    log.line(table.to_string())?;
    let parts: serde_json::Map<_, _> =
        phases.iter().chain([&whole]).map(|phase| (phase.name.to_owned(), figures(phase, samples))).collect();
    let dataset = &config.data.dataset;
    let all = json!({ "config": args.config.name(), "dataset": dataset, "samples": samples, "runs": runs, "parts": parts });
    write(args.json.as_deref(), &all)
}

/// The phases of each run together.
fn whole(name: &'static str, phases: &[Phase]) -> Phase {
    let sum = |of: fn(&Phase) -> &Vec<f64>| {
        (0..of(&phases[0]).len()).map(|run| phases.iter().map(|phase| of(phase)[run]).sum()).collect()
    };
    Phase {
        name,
        seconds: sum(|phase| &phase.seconds),
        cpu_seconds: sum(|phase| &phase.cpu_seconds),
        multiply_accumulates: phases.iter().map(|phase| phase.multiply_accumulates).sum(),
    }
}

fn row(phase: &Phase, images: usize, rate: f64) -> [String; 6] {
    let seconds = median(&phase.seconds);
    let flops = 2.0 * phase.multiply_accumulates / seconds;
    let costs = phase.multiply_accumulates > 0.0;
    let of_cost = |value: f64| if costs { format!("{value:.1}") } else { "-".to_owned() };
    [
        phase.name.to_owned(),
        format!("{seconds:.4}"),
        format!("{:.2}", median(&phase.cpu_seconds)),
        format!("{:.2}", images as f64 / seconds),
        of_cost(flops / 1e9),
        of_cost(100.0 * flops / rate),
    ]
}

fn figures(phase: &Phase, images: usize) -> Value {
    let seconds = median(&phase.seconds);
    json!({
        "seconds": seconds, "cpu_seconds": median(&phase.cpu_seconds),
        "images_per_second": images as f64 / seconds, "flops": 2.0 * phase.multiply_accumulates / seconds,
    })
}
