//! The network against values recorded from the reference (tests/golden/README.md), as
//! `partial-res bench --golden tests/golden` compares them; and that this comparison notices what is wrong.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::Device;
use partial_res::bench::golden::{Finding, Golden, GoldenError, Tolerances};
use partial_res::nn::{Parameter, Parameters, Role};
use serde_json::Value;

type Outcome = Result<(), GoldenError>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden() -> Result<Golden, GoldenError> {
    Golden::open(&folder(), &Device::Cpu, Tolerances::CPU)
}

fn assert_all_hold(findings: &[Finding]) {
    for finding in findings {
        assert!(finding.holds(), "{finding:?}");
    }
}

fn compared(findings: &[Finding], what: &str) -> usize {
    findings.iter().filter(|finding| finding.what == what).map(|finding| finding.compared).sum()
}

fn count(parameters: &Parameters, roles: &[Role]) -> usize {
    let all = parameters.all();
    all.iter().filter(|p| roles.contains(&p.role)).map(|p| p.var.elem_count()).sum()
}

/// Everything a case holds, with as many activations in evaluation and training as were recorded.
fn check(name: &str, activations: [usize; 2]) -> Outcome {
    let golden = golden()?;
    let info = golden.json(&format!("model/{name}.json"))?;
    let (_, parameters) = golden.network(name)?;
    assert_eq!(count(&parameters, &[Role::Trainable, Role::Frozen]) as u64, info["params"]);
    assert_eq!(count(&parameters, &[Role::Trainable]) as u64, info["trainable"]);
    if name != "prs_mask18" {
        let all = parameters.all();
        let shapes = all.iter().map(|p| (p.name.clone(), Value::from(p.var.dims().to_vec()))).collect();
        assert_eq!(golden.json(&format!("model/names_{name}.json"))?, Value::Object(shapes));
    }
    let findings = golden.check_network(name)?;
    assert_all_hold(&findings);
    assert!(compared(&findings, "decoded tokens") > 0);
    let found = ["eval", "train"].map(|mode| compared(&findings, &format!("activations ({mode})")));
    assert_eq!(found, activations);
    let statistics = if activations[1] > 0 { 6 } else { 0 };
    assert_eq!(compared(&findings, "running statistics"), statistics);
    Ok(())
}

#[test]
fn partial_res_masks_18() -> Outcome {
    check("prs_mask18", [19, 7])
}

#[test]
fn partial_res_masks_12() -> Outcome {
    check("prs_mask12", [3, 3])
}

#[test]
fn partial_res_boxes() -> Outcome {
    check("prs_box", [0, 0])
}

#[test]
fn seqtr_masks() -> Outcome {
    check("plain_mask18", [3, 3])
}

#[test]
fn seqtr_boxes() -> Outcome {
    check("plain_box", [3, 3])
}

#[test]
fn seqtr_boxes_and_masks() -> Outcome {
    check("plain_both12", [3, 3])
}

#[test]
fn the_training_curve_of_the_reference() -> Outcome {
    let findings = golden()?.check_curve()?;
    assert_eq!(compared(&findings, "losses"), 4);
    assert_all_hold(&findings);
    Ok(())
}

#[test]
fn names_stand_in_the_order_of_the_reference() -> Outcome {
    let golden = golden()?;
    let order = golden.json("model/order_prs_mask18.json")?;
    let (_, parameters) = golden.network("prs_mask18")?;
    let names = |list: Vec<Parameter>| list.into_iter().map(|p| Value::from(p.name)).collect::<Vec<_>>();
    assert_eq!(Value::Array(names(parameters.all())), order["state_dict_order"]);
    assert_eq!(Value::Array(names(parameters.trainable())), order["optimizer_order"]);
    Ok(())
}

/// A copy of the folder in which one of a case's tensors is another.
fn with_changed_position_code() -> tempfile::TempDir {
    let changed = tempfile::tempdir().expect("a folder");
    for part in ["model", "optim"] {
        std::fs::create_dir(changed.path().join(part)).expect("made");
        for file in std::fs::read_dir(folder().join(part)).expect("golden data") {
            let file = file.expect("readable").path();
            let name = file.file_name().expect("a file");
            std::fs::copy(&file, changed.path().join(part).join(name)).expect("copied");
        }
    }
    let path = changed.path().join("model/prs_box.safetensors");
    let mut tensors: HashMap<_, _> = candle_core::safetensors::load(&path, &Device::Cpu).expect("tensors");
    let moved = (&tensors["enc.pos"] + 1e-3).expect("moved");
    tensors.insert("enc.pos".into(), moved);
    candle_core::safetensors::save(&tensors, &path).expect("saved");
    changed
}

#[test]
fn the_command_notices_what_differs() {
    let bench = |folder: &Path, case: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
        command.args(["bench", "--device", "cpu", "--golden"]).arg(folder).args(["--case", case]);
        let output = command.output().expect("started");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said)
    };
    let (code, [said, _]) = bench(&folder(), "prs_box");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("decoded tokens") && said.contains("all 3 kinds of values agree"), "{said}");
    let changed = with_changed_position_code();
    let (code, [said, error]) = bench(changed.path(), "prs_box");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("DIFFERS") && error.contains("1 of 3"), "{said}{error}");
}

#[test]
fn folders_that_hold_no_golden_data_are_refused() {
    let open = |folder: &Path| {
        let golden = Golden::open(folder, &Device::Cpu, Tolerances::CPU);
        golden.err().expect("refused").to_string()
    };
    let empty = tempfile::tempdir().expect("a folder");
    assert!(open(&empty.path().join("none")).contains("there is no folder"));
    let said = open(empty.path());
    assert!(said.contains("model/prs_mask18.json") && said.contains("tests/golden"), "{said}");
}
