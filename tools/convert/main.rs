//! Converts the files of the original programs, once, into what `partial-res` reads.

mod checkpoint;
mod darknet;
mod predictions;
mod refer;
mod vectors;
mod vocabulary;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Make weights, checkpoints, vocabularies and annotations of the original programs ours
///
/// Files are never executed, only read; what is written is whole or not there at all.
#[derive(Parser)]
#[command(name = "convert", bin_name = "cargo convert", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Darknet(darknet::DarknetArgs),
    Checkpoint(checkpoint::CheckpointArgs),
    Vocabulary(vocabulary::VocabularyArgs),
    Vectors(vectors::VectorsArgs),
    Predictions(predictions::PredictionsArgs),
    Refer(refer::ReferArgs),
}

fn main() -> ExitCode {
    // Each says what it did and what to type next.
    let done = match Cli::parse().command {
        Command::Darknet(args) => darknet::run(&args),
        Command::Checkpoint(args) => checkpoint::run(args),
        Command::Vocabulary(args) => vocabulary::run(&args),
        Command::Vectors(args) => vectors::run(&args),
        Command::Predictions(args) => predictions::run(&args),
        Command::Refer(args) => refer::run(&args),
    };
    // Who reads may leave early (`| head`): what was converted is there all the same.
    match done {
        Ok(report) => {
            drop(writeln!(io::stdout(), "{report}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// How to see that the words beside a data set are right. Only those in its folder are read.
fn check_words(out: &Path) -> String {
    let mut names = out.components().rev().map(|part| part.as_os_str().to_string_lossy());
    match (names.next(), names.next().as_deref()) {
        (Some(dataset), Some("annotations")) => format!("next: partial-res check --dataset {dataset}"),
        _ => "next: put both files beside the data set's instances.json, then partial-res check".to_owned(),
    }
}
