//! The program is asked to stop, and goes on.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use partial_res::config::Config;
use partial_res::train::RunFolder;

use super::end::end;
use super::{config, data, same, straight};

/// The program itself, in the background; `nohup` lets it ignore that the terminal was closed.
fn program(nohup: bool, arguments: &[&str]) -> Child {
    let program = env!("CARGO_BIN_EXE_partial-res");
    let mut command = Command::new(if nohup { "nohup" } else { program });
    command.args(nohup.then_some(program)).args(["train", "--device", "cpu"]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(60), "no {what} after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes the configuration, starts the program and waits for its first checkpoint.
fn start(folder: &Path, config: &Config) -> (Child, PathBuf) {
    let file = folder.join("tiny.toml");
    std::fs::write(&file, config.to_toml()).expect("written");
    let runs = folder.join("runs");
    let child = program(false, &[&file.display().to_string(), "--runs", &runs.display().to_string()]);
    let checkpoint = |run: &PathBuf| run.join("checkpoints/latest").exists();
    wait_for("checkpoint", || RunFolder::newest(&runs).is_some_and(|run| checkpoint(&run)));
    (child, RunFolder::newest(&runs).expect("a run"))
}

fn send(signal: &str, child: &Child) {
    let signalled = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(signalled.expect("kill runs").success());
}

#[test]
fn a_signal_finishes_the_step_saves_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    config.train.epochs = 8;
    let straight = straight(folder.path(), &config);
    let (mut child, run) = start(folder.path(), &config);
    for signal in ["-TERM", "-INT", "-HUP"] {
        // Twice, as `timeout` does: it signals the command, then the command's group.
        for _ in 0..2 {
            send(signal, &child);
        }
        let asked = Instant::now();
        assert!(child.wait().expect("ended").success());
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        let log = std::fs::read_to_string(run.join("log.txt")).expect("the log");
        let last = log.lines().last().expect("a line");
        assert!(last.starts_with("stopped and saved in epoch "), "{last}");
        let resumed = log.matches("resumed from").count();
        child = program(signal == "-HUP", &["--resume", &run.display().to_string()]);
        let log = || std::fs::read_to_string(run.join("log.txt")).unwrap_or_default();
        wait_for("resume", || log().matches("resumed from").count() > resumed);
    }
    send("-HUP", &child);
    assert!(child.wait().expect("ended").success());
    same(&run, &end(&straight));
}
