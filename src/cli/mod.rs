//! The commands, a file each: arguments, call the library, print.

mod bench;
mod check;
mod download;
mod eval;
mod info;
mod judge;
mod label;
mod package;
mod pick;
mod pipeline;
mod predict;
mod sample;
mod shapes;
mod shared;
mod table;
mod train;

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use partial_res::device;
use partial_res::parallel::world;

/// Referring expression segmentation point by point: train with boxes for all referents and masks
/// for few, evaluate, and outline what an expression refers to.
#[derive(Parser)]
#[command(
    name = "partial-res",
    version = concat!(env!("CARGO_PKG_VERSION"), ", code ", env!("PARTIAL_RES_CODE")),
    after_help = "Without any data, `partial-res train` makes a small data set and learns on it in minutes."
)]
pub struct Cli {
    /// Threads that compute [default: one per core]. For small networks on few cores, several commands
    /// with one thread each do more than one with all
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Predict(predict::PredictArgs),
    Info(info::InfoArgs),
    Shapes(shapes::ShapesArgs),
    Sample(sample::SampleArgs),
    Label(label::LabelArgs),
    Pick(pick::PickArgs),
    Judge(judge::JudgeArgs),
    Pipeline(pipeline::PipelineArgs),
    Table(table::TableArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Download(download::DownloadArgs),
    Package(package::PackageArgs),
}

/// Runs one command.
pub fn run(cli: Cli) -> Result<()> {
    let together = matches!(cli.command, Command::Train(_) | Command::Eval(_) | Command::Label(_));
    ensure!(
        together || world().is_alone(),
        "of {} processes: only train, eval and label work together; start this command alone",
        world().size()
    );
    let advice = cli.command.when_memory_is_full();
    let done = match cli.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Shapes(args) => shapes::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Label(args) => label::run(args),
        Command::Pick(args) => pick::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Pipeline(args) => pipeline::run(&args),
        Command::Table(args) => table::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Download(args) => download::run(&args),
        Command::Package(args) => package::run(&args),
    };
    done.map_err(|error| match device::is_out_of_memory(error.as_ref()) {
        true => error.context(format!("the GPU has no memory left; {advice}")),
        false => error,
    })
}

impl Command {
    /// What takes less memory on a GPU.
    fn when_memory_is_full(&self) -> &'static str {
        match self {
            Self::Train(_) | Self::Pipeline(_) | Self::Table(_) => {
                "less is taken with a smaller train.batch_size (for as many rows a step, train.accumulate) or \
                 train.precision=bf16"
            }
            Self::Eval(_) | Self::Label(_) => {
                "less is taken with a smaller --batch-size or --arithmetic bf16"
            }
            Self::Bench(_) => "less is taken with a smaller --batch",
            _ => "less is taken with --arithmetic bf16, and none with --device cpu",
        }
    }
}
