//! `partial-res info`: size and cost of a network.

use anyhow::Result;
use clap::Args;
use partial_res::data::Dataset;
use partial_res::model::info::{Part, parts};
use partial_res::report::Table;

use super::shared::{ConfigArgs, say};

/// Print parameters and multiply-accumulates of a configuration's network, part by part
///
/// The cost is that of one square image of data.image_size and one expression, with the whole
/// sequence decoded.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  partial-res info res/refcoco-unc --words 64")]
pub struct InfoArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Rows of the word table [default: the vocabulary of the data set if it is there, else 0]
    #[arg(long)]
    words: Option<usize>,
}

pub fn run(args: &InfoArgs) -> Result<()> {
    let config = args.config.load()?;
    let mut note = None;
    let words = args.words.unwrap_or_else(|| {
        let opened = Dataset::open(&config.data, &config.data.train_annotations, "train");
        let read = opened.map(|dataset| dataset.vocabulary().len());
        read.unwrap_or_else(|error| {
            note = Some(format!("note: 0 words, as the data can't be read; --words N sets them ({error})"));
            0
        })
    });
    let size = config.data.image_size.next_multiple_of(config.model.darknet.stride());
    let parts = parts(&config.model, words, config.data.max_words, (size, size));
    let mut table = Table::new(["part", "parameters", "trainable", "GMAC an image"]);
    let row = |name: &str, figures: [usize; 3]| {
        let [parameters, trainable, cost] = figures;
        let cost = cost as f64 / 1e9;
        let cost = if cost >= 1.0 { format!("{cost:.1}") } else { format!("{cost:.4}") };
        [name.to_owned(), grouped(parameters), grouped(trainable), cost]
    };
    let figures = |part: &Part| [part.parameters, part.trainable, part.multiply_accumulates];
    for part in &parts {
        table.row(row(part.name, figures(part)));
    }
    table.rule();
    let sum = parts.iter().map(figures).fold([0; 3], |sum, part| std::array::from_fn(|i| sum[i] + part[i]));
    table.row(row("all", sum));
    let (name, tokens) = (args.config.name(), config.model.positions());
    say(format_args!("{name}: {size} x {size} pixels, {words} words, {tokens} tokens"))?;
    say(table)?;
    Ok(note.map_or(Ok(()), say)?)
}

/// 104 431 721
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
