//! `partial-res table`: many experiments in one table.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use clap::Args;
use partial_res::experiment::table::{Filled, Results, TableFile, cells, fill, judge_labels, render};
use partial_res::experiment::{Plan, StepStore, Workplace, in_order};
use partial_res::report::{Log, Table};

use super::shared::{DeviceArgs, make_shapes, say, signals};

/// Rows times seeds of the experiment, cell by cell: raw rows as CSV, a page with means, and curves
///
/// Cells share their steps through the store. Killed, the same command goes on where it stopped. Two
/// processes with one store share the work: on two cores that is the fastest way, each with --threads 1.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  partial-res --threads 1 table & partial-res --threads 1 table\n  partial-res table --list\n  partial-res table --only unc-5-rpp/1"
)]
pub struct TableArgs {
    /// The rows, as configs/tables/refshapes.toml, which is the default
    file: Option<PathBuf>,
    /// Where steps are kept and found again
    #[arg(long, default_value = "experiments")]
    store: PathBuf,
    /// Where cells.csv, curves.csv and the pictures go; the page is DIR.md [default: STORE/table]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// These rows or cells only, comma-separated
    #[arg(long, value_name = "ROW[/SEED]", value_delimiter = ',')]
    only: Vec<String>,
    /// Change a key of all cells, such as data.root
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// List the cells in their order and how far they are, and stop
    #[arg(long)]
    list: bool,
    /// Draw the page and the pictures from the CSV files, and stop; rows of another data set, method or share of masks
    /// than the table says count as missing, other settings are not looked at
    #[arg(long, conflicts_with = "list")]
    render: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &TableArgs) -> Result<()> {
    let log = Log::stdout();
    let file = TableFile::read(args.file.as_deref())?;
    let results = Results { folder: args.out.clone().unwrap_or_else(|| args.store.join("table")) };
    if args.render {
        let cells = results.folder.join("cells.csv");
        ensure!(
            cells.exists(),
            "there are no results at {}; `table --out {}` makes them",
            cells.display(),
            results.folder.display()
        );
        return Ok(say(render(&file, &results, None)?.display())?);
    }
    for row in &file.rows {
        make_shapes(&file.config_of(row, &args.sets)?, &log)?;
    }
    let store = StepStore::new(&args.store)?;
    let wanted = cells(&file, &args.sets, &args.only)?;
    if args.list {
        let mut table = Table::new(["cell", "steps done", "of", "by other code", "evaluation", "result"]);
        for cell in &wanted {
            let plan = Plan::new([&cell.arm.evaluation], &store)?;
            let [done, other] = plan.done(&store)?;
            table.row([
                cell.name(),
                done.to_string(),
                plan.steps.len().to_string(),
                other.to_string(),
                cell.arm.evaluation.name(),
                if results.has(cell)? { "there" } else { "missing" }.to_owned(),
            ]);
        }
        return Ok(say(table.to_string().trim_end())?);
    }
    // Compared cells may both be there although only one is wanted now.
    let every = cells(&file, &args.sets, &[])?;
    let judged = judge_labels(&file, &every, &store, &results)?;
    // The page as it is now; better known before cells are made that it has no place for them.
    let page = render(&file, &results, Some(&every))?;
    if judged > 0 {
        log.line(format!("labels of {judged} pairs of cells measured: {}", page.display()))?;
    }
    let device = args.device.open(&log)?;
    let stop = signals()?;
    let place =
        Workplace { store: &store, device: &device, log: &log, stop: &|| stop.load(Ordering::Relaxed) };
    let all = in_order(wanted.iter().map(|cell| &cell.arm.evaluation));
    let [done, other] = Plan::new(&all, &store)?.done(&store)?;
    let other = if other > 0 { format!(", {other} of these by other code") } else { String::new() };
    log.line(format!("{} cells, {} steps, {done} done{other}", wanted.len(), all.len()))?;
    let filled = fill(&wanted, &place, &results, &|cell| {
        judge_labels(&file, &every, &store, &results)?;
        let page = render(&file, &results, Some(&every))?;
        Ok(log.line(format!("cell {} is done: {}", cell.name(), page.display()))?)
    })?;
    if filled == Filled::Stopped {
        log.line("stopped; the same command goes on from here")?;
    }
    Ok(())
}
