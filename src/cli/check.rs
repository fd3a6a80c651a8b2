//! `partial-res check`: what is missing or broken in a tree of data.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use partial_res::config::Config;
use partial_res::data::check::{Fault, Finding, Report, check};
use partial_res::report::{Log, ReportError, Table, write_whole};

use super::shared::say;

/// Look through annotations and images and list everything that is missing or broken
///
/// Vocabularies of other data, word vectors that don't fit them, unusable records, boxes beyond their image,
/// empty masks and expressions, the same object and expression in train and another split, images that
/// are missing, undecodable or of another size. Ends with exit code 1 if there is any. An image in two
/// splits is a note, and so are an expression in two splits other than train and absent word vectors.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  partial-res check\n  partial-res check --dataset refcoco-unc --json problems.json"
)]
pub struct CheckArgs {
    /// A folder of ROOT/annotations; default: all of them
    #[arg(long)]
    dataset: Option<String>,
    /// Holds annotations/ and images/ [default: data, or what --set data.root=ROOT says]
    #[arg(long)]
    root: Option<PathBuf>,
    /// Where images are: --set data.images.SOURCE=folder/{image_id}.jpg
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Write everything that was found as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Problems of a kind to print; --json has all
    #[arg(long, default_value_t = 10)]
    show: usize,
}

pub fn run(args: &CheckArgs) -> Result<()> {
    let start = Instant::now();
    let config = Config::default().with(&args.sets)?;
    let data = &config.data;
    let set_dataset = args.sets.iter().any(|set| set.starts_with("data.dataset=")).then_some(&data.dataset);
    let dataset = args.dataset.as_ref().or(set_dataset);
    let log = Log::stdout();
    let bar = log.progress(0, "check", "images");
    let progress = |_: usize, total: usize| {
        bar.set_length(total as u64);
        bar.advance(1);
    };
    let root = args.root.as_ref().unwrap_or(&data.root);
    let report = check(root, dataset.map(String::as_str), &config, &progress)?;
    bar.finish();
    say(files(&report).to_string().trim_end())?;
    report.notes.iter().try_for_each(|note| say(format!("note: {note}")))?;
    let seconds = start.elapsed().as_secs_f64();
    say(format!("{} images decoded in {seconds:.1} s", report.images))?;
    match report.problems.is_empty() {
        true => say("nothing is missing or broken")?,
        false => say(format!("\n{}", problems(&report, args.show)).trim_end())?,
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        write_whole(path, |file| {
            let failed = |source| ReportError::Io { path: path.clone(), source };
            file.write_all(text.as_bytes()).map_err(failed)
        })?;
    }
    ensure!(report.problems.is_empty(), "{} problems", report.problems.len());
    Ok(())
}

fn files(report: &Report) -> Table {
    let mut table = Table::new(["file", "records", "masks", "expressions", "splits"]);
    for file in &report.files {
        let counts = [file.records, file.masks, file.expressions].map(|count| count.to_string());
        let cells = std::iter::once(file.file.display().to_string()).chain(counts);
        table.row(cells.chain([file.splits.join(" ")]));
    }
    table
}

fn problems(report: &Report, show: usize) -> Table {
    let mut table = Table::new(["problem", "file", "split", "record", "found"]);
    for findings in report.problems.chunk_by(|a, b| a.fault == b.fault) {
        findings.iter().take(show).for_each(|finding| {
            table.row(row(finding));
        });
        if findings.len() > show {
            let more = format!("… and {} more", findings.len() - show);
            let fault: Fault = findings[0].fault;
            table.row([fault.to_string(), String::new(), String::new(), String::new(), more]);
        }
    }
    table
}

fn row(finding: &Finding) -> [String; 5] {
    [
        finding.fault.to_string(),
        finding.file.display().to_string(),
        finding.split.clone().unwrap_or_default(),
        finding.record.map(|record| record.to_string()).unwrap_or_default(),
        finding.found.clone(),
    ]
}
