//! Several processes do what one does. `cargo test --release --features mpi --test parallel` runs them under
//! `mpirun -n 2` (Debian: libopenmpi-dev, libclang-dev); without the feature it must be refused.

#[cfg(feature = "mpi")]
#[path = "common/tiny.rs"]
mod tiny;

use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_partial-res");

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_for_one_process_refuses_to_be_several() {
    let mut train = Command::new(PROGRAM);
    train.arg("train").current_dir(std::env::temp_dir()).env("OMPI_COMM_WORLD_SIZE", "2");
    let output = train.stdin(Stdio::null()).output().expect("started");
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("2 processes") && said.contains("--features mpi"), "{said}");
}

#[cfg(feature = "mpi")]
mod together {
    use super::*;

    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use candle_core::{Device, Tensor};
    use partial_res::checkpoint::Checkpoint;
    use partial_res::config::{Config, DataConfig, TrainConfig};
    use partial_res::report::{Weights, read_results};
    use partial_res::shapes::{ShapesConfig, generate};

    struct Place(tempfile::TempDir);

    impl Place {
        /// RefShapes and a configuration without chance that depends on the process. A large `eps` keeps
        /// Adam from making whole steps of rounding errors where a gradient is nothing else.
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let shapes = ShapesConfig {
                images: 16,
                val_images: 5,
                test_images: 1,
                size: 64,
                ..ShapesConfig::default()
            };
            generate(&shapes, &folder.path().join("data"), &|_, _| ()).expect("RefShapes");
            let mut model = tiny::model();
            (model.dropout, model.cross_attention_dropout) = (0.0, 0.0);
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

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn command(&self, processes: usize, arguments: &[&str]) -> Command {
            let mut command = match processes {
                1 => Command::new(PROGRAM),
                _ => {
                    let mut launcher = Command::new("mpirun");
                    launcher.args([
                        "--allow-run-as-root",
                        "--oversubscribe",
                        "-n",
                        &processes.to_string(),
                        PROGRAM,
                    ]);
                    launcher
                }
            };
            command
                .args(arguments)
                .current_dir(self.path())
                .env("RAYON_NUM_THREADS", "1")
                .stdin(Stdio::null());
            command
        }

        /// Trains, and gives back the run's folder.
        fn train(&self, processes: usize, runs: &str, sets: &[&str]) -> PathBuf {
            let mut arguments = vec!["train", "tiny.toml", "--runs", runs];
            sets.iter().for_each(|set| arguments.extend(["--set", set]));
            let output = self.command(processes, &arguments).output().expect("started");
            assert!(output.status.success(), "{}", said(&output));
            let mut found = std::fs::read_dir(self.path().join(runs)).expect("runs");
            let run = found.next().expect("a run").expect("readable").path();
            assert!(found.next().is_none(), "one process makes the folder");
            run
        }
    }

    fn weights(run: &Path) -> Vec<(String, Tensor)> {
        let folder = Checkpoint::open(run).expect("a checkpoint").folder;
        let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu);
        let mut tensors: Vec<_> = tensors.expect("weights").into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// The largest difference of a weight, as a share of the largest weight of its tensor.
    fn difference(one: &Path, other: &Path) -> f64 {
        let number = |tensor: Tensor| f64::from(tensor.max_all().unwrap().to_scalar::<f32>().unwrap());
        let pairs = weights(one).into_iter().zip(weights(other));
        let differences =
            pairs.filter(|((_, a), _)| a.dtype() == candle_core::DType::F32).map(|((name, a), (same, b))| {
                assert_eq!(name, same);
                let scale = number(a.abs().unwrap()).max(1e-3);
                number((a - b).unwrap().abs().unwrap()) / scale
            });
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn two_with_half_a_batch_end_where_one_ends() {
        let place = Place::new();
        let one = place.train(1, "one", &[]);
        let joint = place.train(2, "joint", &["train.batch_size=4", "train.batch_statistics=joint"]);
        let own = place.train(2, "own", &["train.batch_size=4"]);
        let (joint_off, own_off) = (difference(&one, &joint), difference(&one, &own));
        println!("largest difference of a weight: joint {joint_off:.2e}, own {own_off:.2e}");
        assert!(joint_off < 1e-4, "{joint_off}");
        assert!(own_off > joint_off, "statistics of a share are others than those of the whole");
        let rows = |run: &Path| read_results(&run.join("results.csv")).expect("results");
        let (alone, together) = (rows(&one), rows(&joint));
        assert_eq!(alone.len(), together.len());
        for (a, b) in alone.iter().zip(&together) {
            let (a, b) = (a.loss.expect("a loss"), b.loss.expect("a loss"));
            assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
        }
    }

    #[test]
    fn evaluation_and_labels_are_those_of_one_process() {
        let place = Place::new();
        let run = place.train(1, "one", &["train.epochs=1"]).display().to_string();
        let mut files = Vec::new();
        for processes in [1, 2] {
            let (scores, labels) = (format!("scores-{processes}.json"), format!("labels-{processes}.jsonl"));
            let eval =
                ["eval", "--checkpoint", &run, "--split", "val", "--batch-size", "3", "--json", &scores];
            let label = ["label", "--checkpoint", &run, "--batch-size", "5", "--out", &labels];
            for arguments in [&eval[..], &label[..]] {
                let output = place.command(processes, arguments).output().expect("started");
                assert!(output.status.success(), "{}", said(&output));
            }
            files.push([scores, labels].map(|name| std::fs::read(place.path().join(name)).expect("a file")));
        }
        assert_eq!(files[0], files[1]);
    }

    #[test]
    fn when_one_dies_all_end_and_the_run_goes_on() {
        let place = Place::new();
        let sets = [
            "train",
            "tiny.toml",
            "--runs",
            "runs",
            "--set",
            "train.batch_size=4",
            "--set",
            "train.epochs=500",
        ];
        let mut launcher =
            place.command(2, &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let children = || {
            let pid = launcher.id().to_string();
            let found = Command::new("pgrep").args(["-P", &pid, "partial-res"]).output().expect("pgrep");
            String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let begun = Instant::now();
        let latest = || {
            let run = std::fs::read_dir(place.path().join("runs")).ok()?.next()?.ok()?.path();
            run.join("checkpoints/latest").exists().then_some(run)
        };
        while latest().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint in a minute");
            std::thread::sleep(Duration::from_millis(20));
        }
        let killed = Instant::now();
        let victim = children().pop().expect("a process");
        assert!(Command::new("kill").args(["-9", &victim]).status().expect("kill").success());
        assert!(!launcher.wait().expect("ended").success());
        println!("all had ended {:.1} s after the kill", killed.elapsed().as_secs_f64());
        assert!(killed.elapsed() < Duration::from_secs(30));
        let run = latest().expect("the run").display().to_string();
        let resumed = Checkpoint::open(Path::new(&run)).expect("whole").state.step;
        let more = format!("train.epochs={}", resumed / 8 + 2);
        let output =
            place.command(2, &["train", "--resume", &run, "--set", &more]).output().expect("started");
        assert!(output.status.success(), "{}", said(&output));
        let checkpoint = Checkpoint::open(Path::new(&run)).expect("a checkpoint");
        assert!(checkpoint.state.step >= resumed && checkpoint.hash(Weights::Raw).is_some());
    }

    #[test]
    fn an_error_of_one_is_said_and_ends_all() {
        let place = Place::new();
        let image = place.path().join("data/images/refshapes");
        for entry in std::fs::read_dir(&image).expect("images") {
            std::fs::write(entry.expect("readable").path(), b"no image").expect("written");
        }
        let begun = Instant::now();
        let output = place
            .command(2, &["train", "tiny.toml", "--set", "train.batch_size=4"])
            .output()
            .expect("started");
        assert!(!output.status.success());
        assert!(begun.elapsed() < Duration::from_secs(30));
        let said = said(&output);
        assert!(said.contains("error: ") && said.contains(".jpg"), "{said}");
        let output = place.command(2, &["info", "tiny.toml"]).output().expect("started");
        assert!(
            !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("only train, eval")
        );
    }
}
