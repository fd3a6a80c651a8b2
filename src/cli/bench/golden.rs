//! `partial-res bench --golden`: are the values those of the reference?

use std::path::Path;

use anyhow::{Result, bail, ensure};
use candle_core::Device;
use partial_res::bench::golden::{Finding, Golden, NETWORKS, OPTIMISERS, Tolerances};
use partial_res::report::{Log, Table};

/// The first steps of a training.
const CURVE: &str = "curve";

pub fn run(folder: &Path, cases: &[String], device: &Device, log: &Log) -> Result<()> {
    let all = NETWORKS.iter().chain([&CURVE]).chain(&OPTIMISERS);
    let known: Vec<&str> = all.copied().collect();
    if let Some(unknown) = cases.iter().find(|case| !known.contains(&case.as_str())) {
        bail!("there is no golden case {unknown}; there are {}", known.join(", "));
    }
    let golden = Golden::open(folder, device, Tolerances::of(device))?;
    let mut table = Table::new(["case", "values", "number", "largest difference", "of", "tolerance", ""]);
    let (mut kinds, mut different) = (0, 0);
    for &case in known.iter().filter(|&&case| cases.is_empty() || cases.iter().any(|wanted| wanted == case)) {
        log.line(format!("{case} …"))?;
        let findings = match case {
            CURVE => golden.check_curve(),
            _ if OPTIMISERS.contains(&case) => golden.check_optimiser(case, false),
            _ => golden.check_network(case),
        }?;
        if kinds > 0 {
            table.rule();
        }
        for finding in &findings {
            table.row(row(finding));
        }
        kinds += findings.len();
        different += findings.iter().filter(|finding| !finding.holds()).count();
    }
    log.line(table.to_string())?;
    ensure!(different == 0, "{different} of {kinds} kinds of values differ from those of the reference");
    log.line(format!("all {kinds} kinds of values agree with those of the reference"))?;
    Ok(())
}

fn row(finding: &Finding) -> [String; 7] {
    let number = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") };
    [
        finding.case.clone(),
        finding.what.clone(),
        finding.compared.to_string(),
        number(finding.difference),
        if finding.difference == 0.0 { String::new() } else { finding.at.clone() },
        number(finding.tolerance),
        if finding.holds() { "ok" } else { "DIFFERS" }.to_owned(),
    ]
}
