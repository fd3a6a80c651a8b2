//! `partial-res shapes`: make RefShapes.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use partial_res::report::save_picture;
use partial_res::shapes::{Manner, ShapesConfig, contact_sheet, generate};

use super::shared::say;

/// Make RefShapes, the data set that the program brings along.
///
/// Writes images/refshapes (the same for all manners) and annotations/refshapes-<MANNER> in the
/// reference's layout. The same arguments give the same bytes. A larger --images begins with the
/// images of a smaller one; val, testA and testB depend on --seed and --size alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  partial-res shapes --out data --manner unc --images 6000 --seed 1\n  \
                  partial-res shapes --manner unc,plus,g --sheet refshapes.jpg")]
pub struct ShapesArgs {
    /// Data root to write to.
    #[arg(long, default_value = "data")]
    out: PathBuf,
    /// How referents are spoken of; several, comma-separated, share the images.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "unc")]
    manner: Vec<Manner>,
    /// Images of the split train.
    #[arg(long, default_value_t = ShapesConfig::default().images)]
    images: usize,
    /// Images of the split val.
    #[arg(long, default_value_t = ShapesConfig::default().val_images)]
    val_images: usize,
    /// Images of the split testA, and of testB.
    #[arg(long, default_value_t = ShapesConfig::default().test_images)]
    test_images: usize,
    /// Longest side of the largest images, in pixels.
    #[arg(long, default_value_t = ShapesConfig::default().size)]
    size: usize,
    #[arg(long, default_value_t = ShapesConfig::default().seed)]
    seed: u64,
    /// Only draw a picture: the first images of val with boxes, outlines and expressions, a row
    /// for each manner. The suffix of FILE decides the format.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
}

/// Images in a row of the contact sheet.
const COLUMNS: usize = 4;

pub fn run(args: &ShapesArgs) -> Result<()> {
    let config = |manner| ShapesConfig {
        manner,
        images: args.images,
        val_images: args.val_images,
        test_images: args.test_images,
        size: args.size,
        seed: args.seed,
    };
    if let Some(path) = &args.sheet {
        let configs: Vec<ShapesConfig> = args.manner.iter().map(|&manner| config(manner)).collect();
        save_picture(&contact_sheet(&configs, COLUMNS)?, path)?;
        return Ok(say(path.display())?);
    }
    for &manner in &args.manner {
        let config = config(manner);
        let start = Instant::now();
        let bar =
            ProgressBar::new(0).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} images")?);
        let progress = |done: usize, total: usize| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        };
        let summary = generate(&config, &args.out, &progress)?;
        bar.finish_and_clear();
        let what = if summary.reused { "was there" } else { "made" };
        let seconds = start.elapsed().as_secs_f64();
        say(format_args!("{} {what} in {seconds:.1} s, under {}", summary.dataset, args.out.display()))?;
        say(summary)?;
    }
    Ok(())
}
