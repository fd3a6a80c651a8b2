//! Parse, dispatch, report errors; everything else is in the library and in `cli`.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use partial_res::{device, parallel};

fn main() -> ExitCode {
    // candle's own pool for elementwise work waits by spinning: beside the threads of the loader and of
    // rayon it made a training step up to five times slower. Our operations use rayon.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    device::keep_freed_memory();
    let cli = cli::Cli::parse();
    if let Some(threads) = cli.threads {
        // Read by rayon and by candle when they first compute.
        // SAFETY: still no other thread has been started.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
    let _membership = match parallel::join() {
        Ok(membership) => membership,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let world = parallel::world();
    // On a worker of rayon's pool: from outside, each of a step's thousand small fan-outs would wait for
    // the pool to wake.
    let done = rayon::scope(|_| cli::run(cli));
    if let Err(error) = &done {
        let process = if world.is_alone() { String::new() } else { format!("process {}: ", world.rank()) };
        // Where nobody reads errors, the exit code still tells.
        drop(writeln!(std::io::stderr(), "{process}error: {}", told(error)));
        if !world.is_alone() {
            world.abort(1, &told(error));
        }
    }
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The error and its causes; a cause that is part of what was said already is not said again.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}
