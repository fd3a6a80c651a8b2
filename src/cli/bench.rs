//! `partial-res bench`: speed of a configuration's network.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use partial_res::bench::{Phase, Sizes, evaluation, matrix_rate, median, peak_memory, training};
use partial_res::report::{Log, Table};
use serde_json::{Value, json};

use super::shared::{ConfigArgs, DeviceArgs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Eval,
    Train,
    Both,
}

/// Time evaluation and training of a configuration's network on noise
///
/// Seconds are medians. The share is that of the rate of large f32 matrix products measured just before; an
/// algorithm that multiplies less than the plain one (Winograd's) can exceed 100 %. Processor seconds
/// are those of all threads: on a busy machine they say more than the clock.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res bench res/refcoco-unc --batch 4\n  RAYON_NUM_THREADS=1 partial-res bench res/refshapes --batch 12 --expressions 3"
)]
pub struct BenchArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Images in a batch
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
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &BenchArgs) -> Result<()> {
    const WORDS: usize = 64;
    let log = Log::stdout();
    let config = args.config.load()?;
    let device = args.device.open(&log)?;
    let sizes = Sizes {
        images: args.batch.get(),
        expressions: args.expressions.get(),
        words: WORDS,
        runs: args.runs.get(),
    };
    let rate = matrix_rate(&device)?;
    let Sizes { images, expressions, runs, .. } = sizes;
    log.line(format!(
        "{}: {images} images of {} pixels, {expressions} expressions each; medians of {runs} runs",
        args.config.name(),
        config.data.image_size
    ))?;
    log.line(format!("matrix products: {:.1} GFLOP/s in f32", rate / 1e9))?;
    let mut table = Table::new(["", "seconds", "processor", "images/s", "GFLOP/s", "share %"]);
    let mut parts = serde_json::Map::new();
    type Timed = fn(
        &partial_res::config::Config,
        &Sizes,
        &candle_core::Device,
    ) -> Result<Vec<Phase>, partial_res::model::ModelError>;
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
    if let Some(path) = &args.json {
        let all = json!({
            "config": args.config.name(), "image_size": config.data.image_size, "images": images,
            "expressions": expressions, "runs": runs, "matrix_flops": rate, "peak_memory": memory, "parts": parts,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
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
