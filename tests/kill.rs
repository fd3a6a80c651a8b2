//! Killed with SIGKILL at random moments and resumed each time, a training ends bit for bit like one
//! that was left alone. `tools/kill-test` runs it with more kills.
#![cfg(unix)]

#[path = "common/end.rs"]
mod end;
#[path = "common/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use partial_res::checkpoint::Checkpoint;
use partial_res::config::TrainConfig;
use partial_res::random::Stream;

use end::end;

fn program(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
    command.args(["train", "--device", "cpu"]).args(arguments).current_dir(folder);
    command.env("RAYON_NUM_THREADS", "2").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the process ends, and gives what it complained about.
fn finish(child: Child) -> Result<(), String> {
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The only run folder, if its first checkpoint is there.
fn run_of(runs: &Path) -> Option<std::path::PathBuf> {
    let run = fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path()).next()?;
    Checkpoint::open(&run).ok().map(|_| run)
}

/// Whether something is half written.
fn is_writing(run: &Path) -> bool {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".partial-"))
}

#[test]
fn killed_at_random_moments_it_ends_like_one_left_alone() {
    let kills: usize = std::env::var("KILLS").ok().map_or(6, |kills| kills.parse().expect("KILLS: a number"));
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    training::shapes(&root, 24, 3);
    // Every source of chance is on, and after every epoch of a few steps there is a checkpoint, so that kills
    // often fall into the writing.
    let train = TrainConfig {
        // Long enough that no run of the second kind ends before it was killed often enough.
        epochs: 8 + kills / 2,
        batch_size: 8,
        warmup_epochs: 1,
        shuffle_fraction: 0.5,
        eval_limit: 4,
        ..TrainConfig::default()
    };
    let config = training::config(&root, train);
    fs::write(folder.path().join("tiny.toml"), config.to_toml()).unwrap();

    let start = Instant::now();
    finish(program(folder.path(), &["tiny.toml", "--runs", "straight"])).unwrap();
    let straight = start.elapsed();
    let expected = end(&run_of(&folder.path().join("straight")).unwrap());

    let runs = folder.path().join("killed");
    let mut chance = Stream::new(kills as u64, "kill-test");
    let (mut done, mut while_writing, mut from_nothing) = (0, 0, 0);
    // A moment between a start and about two epochs later.
    let longest = straight.as_secs_f64() * 2.5 / config.train.epochs as f64 + 0.15;
    let mut begin_or_resume = || match run_of(&runs) {
        Some(run) => program(folder.path(), &["--resume", run.to_str().unwrap()]),
        None => {
            from_nothing += 1;
            fs::remove_dir_all(&runs).ok();
            program(folder.path(), &["tiny.toml", "--runs", "killed"])
        }
    };
    while done < kills {
        let mut child = begin_or_resume();
        let moment = Instant::now() + Duration::from_secs_f64(chance.range(0.02, longest));
        // Every third kill waits for the next moment at which a checkpoint is half written.
        let in_writing = done % 3 == 2;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let run = run_of(&runs).expect("a run");
                assert!(status.success(), "{:?}", finish(child));
                println!("the run ended after {done} kills: beginning another one like it");
                assert!(end(&run) == expected, "after {done} kills the run ended otherwise");
                fs::remove_dir_all(&runs).unwrap();
                break;
            }
            let writing = run_of_any(&runs).is_some_and(|run| is_writing(&run));
            if Instant::now() >= moment && (!in_writing || writing) {
                child.kill().unwrap();
                child.wait().unwrap();
                done += 1;
                while_writing += usize::from(run_of_any(&runs).is_some_and(|run| is_writing(&run)));
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    finish(begin_or_resume()).unwrap();
    let run = run_of(&runs).unwrap();
    let found = end(&run);
    assert!(!is_writing(&run), "half a checkpoint was left behind");
    println!(
        "{kills} kills, {while_writing} of them left a checkpoint half written; {from_nothing} starts from \
         nothing; left alone it takes {:.1} s",
        straight.as_secs_f64()
    );
    for (name, (found, expected)) in
        ["model", "ema", "optimizer"].iter().zip(found.tensors.iter().zip(&expected.tensors))
    {
        println!("{name}.safetensors: {}", if found == expected { "equal" } else { "DIFFERENT" });
    }
    println!("results.csv: {}", if found.results == expected.results { "equal" } else { "DIFFERENT" });
    assert!(found == expected);
}

/// The only run folder, whatever is in it.
fn run_of_any(runs: &Path) -> Option<std::path::PathBuf> {
    fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path()).next()
}
