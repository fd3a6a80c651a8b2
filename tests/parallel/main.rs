//! Several processes do what one does: over TCP, and with `--features mpi` (Debian: libopenmpi-dev,
//! libclang-dev) under `mpirun -n 2` too.

mod place;
#[path = "../common/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use partial_res::checkpoint::Checkpoint;
use partial_res::report::{Weights, read_results};
use partial_res::shapes::generate;

use place::{Launcher, Place, finish, group, shapes, start};

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

fn two_with_half_a_batch_end_where_one_ends(launcher: Launcher) {
    let place = Place::new();
    let one = place.train(None, "one", &[]);
    let joint = place.train(Some(launcher), "joint", &["train.batch_size=4", "train.batch_statistics=joint"]);
    let own = place.train(Some(launcher), "own", &["train.batch_size=4"]);
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

fn evaluation_and_labels_are_those_of_one_process(launcher: Launcher) {
    let place = Place::new();
    let run = place.train(None, "one", &["train.epochs=1"]).display().to_string();
    let close_ups = ["train.epochs=1", "data.train_transform=close-up", "data.referents_per_image=1"];
    let labeller = place.train(None, "labeller", &close_ups).display().to_string();
    let mut files = Vec::new();
    for (name, launcher) in [("one", None), ("two", Some(launcher))] {
        let (scores, labels) = (format!("scores-{name}.json"), format!("labels-{name}.jsonl"));
        let eval = [
            "eval",
            "--checkpoint",
            &run,
            "--second-look",
            &labeller,
            "--split",
            "val",
            "--batch-size",
            "3",
            "--json",
            &scores,
        ];
        let label = ["label", "--checkpoint", &run, "--batch-size", "5", "--out", &labels];
        for arguments in [&eval[..], &label[..]] {
            let (success, said) = place.run(launcher, arguments);
            assert!(success, "{said}");
        }
        files.push([scores, labels].map(|name| std::fs::read(place.path().join(name)).expect("a file")));
    }
    assert_eq!(files[0], files[1]);
}

/// The processes of the program that these have started or are.
fn processes(children: &[Child]) -> Vec<String> {
    let own = children.iter().map(|child| child.id().to_string());
    let started = |parent: &String| {
        let found = Command::new("pgrep").args(["-P", parent, "partial-res"]).output().expect("pgrep");
        String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let own: Vec<String> = own.collect();
    let below: Vec<String> = own.iter().flat_map(started).collect();
    if below.is_empty() { own } else { below }
}

fn when_one_dies_all_end_and_the_run_goes_on(launcher: Launcher) {
    let place = Place::new();
    let half = ["--set", "train.batch_size=4"];
    let endless = ["train", "tiny.toml", "--runs", "runs", "--set", "train.epochs=5000"];
    let children = start(group(Some(launcher), place.path(), &[&endless[..], &half].concat()));
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
    let victim = processes(&children).pop().expect("a process");
    assert!(Command::new("kill").args(["-9", &victim]).status().expect("kill").success());
    let (success, said) = finish(children);
    assert!(!success);
    println!("all had ended {:.1} s after the kill: {said}", killed.elapsed().as_secs_f64());
    assert!(killed.elapsed() < Duration::from_secs(30));
    if matches!(launcher, Launcher::Tcp) {
        assert!(said.contains("process 0: stopped: process 1 is gone"), "{said}");
    }
    let run = latest().expect("the run").display().to_string();
    let resumed = Checkpoint::open(Path::new(&run)).expect("whole").state.step;
    let more = format!("train.epochs={}", resumed / 8 + 2);
    let (success, said) = place.run(Some(launcher), &["train", "--resume", &run, "--set", &more]);
    assert!(success, "{said}");
    let checkpoint = Checkpoint::open(Path::new(&run)).expect("a checkpoint");
    assert!(checkpoint.state.step >= resumed && checkpoint.hash(Weights::Raw).is_some());
}

fn an_error_of_one_is_said_and_ends_all(launcher: Launcher) {
    let place = Place::new();
    let image = place.path().join("data/images/refshapes");
    for entry in std::fs::read_dir(&image).expect("images") {
        std::fs::write(entry.expect("readable").path(), b"no image").expect("written");
    }
    let begun = Instant::now();
    let (success, said) = place.run(Some(launcher), &["train", "tiny.toml", "--set", "train.batch_size=4"]);
    assert!(!success);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(said.contains("error: ") && said.contains(".jpg"), "{said}");
    let (success, said) = place.run(Some(launcher), &["info", "tiny.toml"]);
    assert!(!success && said.contains("only train, eval"), "{said}");
}

/// What only one of two processes is told, and what is said of it: nothing where that makes no difference.
fn what_is_not_the_same_is_refused() {
    let place = Place::new();
    let run = |runs, seed| place.train(None, runs, &["train.epochs=1", seed]).display().to_string();
    let (one, other) = (run("one", "train.seed=1"), run("other", "train.seed=2"));
    let (one, other) = (&one[..], &other[..]);
    std::os::unix::fs::symlink(place.path().join("data"), place.path().join("same")).expect("a link");
    // Without the weights of records.
    generate(&shapes(), &place.path().join("unlike"), &|_, _| ()).expect("RefShapes");
    let eval = ["eval", "--split", "val", "--no-marks", "--checkpoint"];
    let label = ["label", "--out", "labels.jsonl", "--checkpoint"];
    let train = ["train", "tiny.toml", "--runs", "runs", "--set", "train.epochs=1"];
    for (command, of_each, expected) in [
        (&eval[..], [&[one][..], &[other]], "the weights of process 0"),
        (&eval, [&[one], &[one, "--weights", "raw"]], "the weights of process 0"),
        (&eval, [&[one], &[one, "--batch-size", "3"]], "other options"),
        (&eval, [&[one], &[one, "--set", "data.max_words=3"]], "another configuration"),
        (&eval, [&[one], &[one, "--set", "data.root=same"]], ""),
        (&label, [&[one], &[other]], "the weights of process 0"),
        (&label, [&[one], &[one, "--set", "data.root=unlike"]], "other annotations"),
        (&train, [&[], &["--set", "train.lr=1e-4"]], "another configuration"),
        (&train, [&[], &["--set", "data.root=unlike"]], "other annotations"),
        (&train, [&[], &["--set", "data.root=same"]], ""),
    ] {
        let mut commands = group(Some(Launcher::Tcp), place.path(), command);
        for (command, own) in commands.iter_mut().zip(of_each) {
            command.args(own);
        }
        let (success, said) = finish(start(commands));
        assert_eq!(success, expected.is_empty(), "{command:?} {of_each:?}: {said}");
        assert!(success || said.contains("process 1 ") && said.contains(expected), "{said}");
        let ran = command == train && success;
        let begun = std::fs::read_dir(place.path().join("runs")).is_ok_and(|mut runs| runs.next().is_some());
        assert_eq!(begun, ran, "what never began leaves no folder");
    }
}

/// Whichever process meets it, the root saves before all end, and the run goes on.
fn an_image_that_one_cannot_read_loses_no_training(launcher: Launcher) {
    let place = Place::new();
    let run = place.train(Some(launcher), "runs", &["train.batch_size=4", "train.epochs=1"]);
    let resume = ["train", "--resume", &run.display().to_string(), "--set", "train.epochs=2"];
    let step = || Checkpoint::open(&run).expect("whole").state.step;
    let begun = step();
    let folder = std::fs::read_dir(place.path().join("data/images/refshapes")).expect("images");
    let mut images: Vec<PathBuf> = folder.map(|entry| entry.expect("readable").path()).collect();
    images.sort();
    let mut saved = 0;
    for image in &images[..3] {
        let pixels = std::fs::read(image).expect("one of train");
        std::fs::write(image, b"no image").expect("written");
        let before = step();
        let (success, said) = place.run(Some(launcher), &resume);
        std::fs::write(image, pixels).expect("written");
        // An image that the epoch has left behind is met no more.
        if !success {
            let name = image.file_name().expect("a name").to_string_lossy();
            assert!(said.contains(&*name) && said.contains("stopped and saved in epoch 2"), "{said}");
            assert!(step() >= before);
            saved += 1;
        }
    }
    assert!(saved > 0 && step() > begun, "{saved} {begun}");
    let (success, said) = place.run(Some(launcher), &resume);
    assert!(success, "{said}");
}

mod tcp {
    use super::Launcher::Tcp;

    #[test]
    fn what_is_not_the_same_is_refused() {
        super::what_is_not_the_same_is_refused();
    }

    #[test]
    fn an_image_that_one_cannot_read_loses_no_training() {
        super::an_image_that_one_cannot_read_loses_no_training(Tcp);
    }

    #[test]
    fn two_with_half_a_batch_end_where_one_ends() {
        super::two_with_half_a_batch_end_where_one_ends(Tcp);
    }

    #[test]
    fn evaluation_and_labels_are_those_of_one_process() {
        super::evaluation_and_labels_are_those_of_one_process(Tcp);
    }

    #[test]
    fn when_one_dies_all_end_and_the_run_goes_on() {
        super::when_one_dies_all_end_and_the_run_goes_on(Tcp);
    }

    #[test]
    fn an_error_of_one_is_said_and_ends_all() {
        super::an_error_of_one_is_said_and_ends_all(Tcp);
    }
}

#[cfg(feature = "mpi")]
mod mpi {
    use super::Launcher::Mpi;

    #[test]
    fn an_image_that_one_cannot_read_loses_no_training() {
        super::an_image_that_one_cannot_read_loses_no_training(Mpi);
    }

    #[test]
    fn two_with_half_a_batch_end_where_one_ends() {
        super::two_with_half_a_batch_end_where_one_ends(Mpi);
    }

    #[test]
    fn evaluation_and_labels_are_those_of_one_process() {
        super::evaluation_and_labels_are_those_of_one_process(Mpi);
    }

    #[test]
    fn when_one_dies_all_end_and_the_run_goes_on() {
        super::when_one_dies_all_end_and_the_run_goes_on(Mpi);
    }

    #[test]
    fn an_error_of_one_is_said_and_ends_all() {
        super::an_error_of_one_is_said_and_ends_all(Mpi);
    }
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_refuses_to_be_started_by_mpirun() {
    let mut train = Command::new(place::PROGRAM);
    train.arg("train").current_dir(std::env::temp_dir()).env("OMPI_COMM_WORLD_SIZE", "2");
    let output = train.stdin(std::process::Stdio::null()).output().expect("started");
    assert!(!output.status.success());
    let said = place::said(&output);
    assert!(said.contains("2 processes") && said.contains("--features mpi"), "{said}");
}
