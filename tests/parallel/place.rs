//! A place for trainings by several processes, and how these are started.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use partial_res::config::{Config, DataConfig, TrainConfig};
use partial_res::shapes::{ShapesConfig, generate};

use super::tiny;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_partial-res");

/// What brings the processes together.
#[derive(Clone, Copy)]
pub enum Launcher {
    Tcp,
    #[cfg(feature = "mpi")]
    Mpi,
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The commands that start the processes of one group.
pub fn group(launcher: Option<Launcher>, place: &Path, arguments: &[&str]) -> Vec<Command> {
    let mut commands = match launcher {
        None => vec![Command::new(PROGRAM)],
        Some(Launcher::Tcp) => {
            let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("its number");
            let process = |rank: usize| {
                let mut command = Command::new(PROGRAM);
                command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", free.port().to_string());
                command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
                command
            };
            (0..2).map(process).collect()
        }
        #[cfg(feature = "mpi")]
        Some(Launcher::Mpi) => {
            let mut command = Command::new("mpirun");
            command.args(["--allow-run-as-root", "--oversubscribe", "-n", "2", PROGRAM]);
            vec![command]
        }
    };
    for command in &mut commands {
        command.args(arguments).current_dir(place).env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    }
    commands
}

pub fn start(commands: Vec<Command>) -> Vec<Child> {
    let start = |mut command: Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    commands.into_iter().map(start).collect()
}

/// Whether all succeeded, and what they said.
pub fn finish(children: Vec<Child>) -> (bool, String) {
    let outputs = children.into_iter().map(|child| child.wait_with_output().expect("ended"));
    outputs.fold((true, String::new()), |(success, all), output| {
        (success && output.status.success(), all + &said(&output))
    })
}

/// Gives the records of train weights from 0.05 to 1.
fn weigh(annotations: &Path) {
    let text = std::fs::read_to_string(annotations).expect("annotations");
    let mut all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (i, record) in all["train"].as_array_mut().expect("records").iter_mut().enumerate() {
        record["weight"] = serde_json::json!((i * 7 % 20 + 1) as f64 / 20.0);
    }
    std::fs::write(annotations, all.to_string()).expect("written");
}

pub fn shapes() -> ShapesConfig {
    ShapesConfig { images: 16, val_images: 5, test_images: 1, size: 64, ..ShapesConfig::default() }
}

pub struct Place(tempfile::TempDir);

impl Place {
    /// RefShapes whose records weigh differently, and a configuration without chance that depends on the
    /// process. A large `eps` keeps Adam from making whole steps of rounding errors where a gradient is nothing
    /// else.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        generate(&shapes(), &folder.path().join("data"), &|_, _| ()).expect("RefShapes");
        weigh(&folder.path().join("data/annotations/refshapes-unc/instances.json"));
        let mut model = tiny::model();
        (model.dropout, model.cross_attention_dropout) = (0.0, 0.0);
        model.loss.soft_target_sigma = 1.0;
        let data = DataConfig {
            root: folder.path().join("data"),
            dataset: "refshapes-unc".into(),
            image_size: 64,
            workers: 1,
            ..DataConfig::default()
        };
        let train = TrainConfig {
            epochs: 2,
            batch_size: 8,
            lr: 1e-3,
            eps: 1e-3,
            log_every: 1,
            ..TrainConfig::default()
        };
        let config = Config { model, data, train };
        std::fs::write(folder.path().join("tiny.toml"), config.to_toml()).expect("a configuration");
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn run(&self, launcher: Option<Launcher>, arguments: &[&str]) -> (bool, String) {
        finish(start(group(launcher, self.path(), arguments)))
    }

    /// Trains, and gives back the run's folder.
    pub fn train(&self, launcher: Option<Launcher>, runs: &str, sets: &[&str]) -> PathBuf {
        let mut arguments = vec!["train", "tiny.toml", "--runs", runs];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let (success, said) = self.run(launcher, &arguments);
        assert!(success, "{said}");
        let mut found = std::fs::read_dir(self.path().join(runs)).expect("runs");
        let run = found.next().expect("a run").expect("readable").path();
        assert!(found.next().is_none(), "one process makes the folder");
        run
    }
}
