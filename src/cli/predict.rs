//! `partial-res predict`: outline what an expression refers to.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use partial_res::data::read_image;
use partial_res::eval::{Look, predict};
use partial_res::report::{Log, Weights, save_picture};

use super::shared::{ArithmeticArgs, DeviceArgs, Labeller, open_checkpoint, say};

/// Outline what an expression refers to in an image
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res predict --checkpoint runs/RUN/checkpoints/segm_best --image dog.jpg --expression \"the dog on the left\""
)]
pub struct PredictArgs {
    /// A checkpoint, a run, or OWNER/NAME on the Hub
    #[arg(long)]
    checkpoint: String,
    /// A JPEG or PNG file
    #[arg(long)]
    image: PathBuf,
    /// What to look for; repeat it to ask several things about the image
    #[arg(long, required = true)]
    expression: Vec<String>,
    /// raw or ema; default: ema if the checkpoint has it
    #[arg(long)]
    weights: Option<Weights>,
    /// A labeller (`train label/…`) that outlines close-ups of what the checkpoint finds; that may be a network that
    /// says boxes then
    #[arg(long, value_name = "LABELLER")]
    second_look: Option<String>,
    /// Picture to write; with several expressions a number is added [default for dog.jpg:
    /// dog.partial-res.png beside it]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print one JSON object per expression on standard output, in the image's own frame
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    arithmetic: ArithmeticArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: PredictArgs) -> Result<()> {
    let log = Log::stderr();
    if let Some(out) = &args.out {
        let format = image::ImageFormat::from_path(out).ok();
        let known = matches!(format, Some(image::ImageFormat::Png | image::ImageFormat::Jpeg));
        ensure!(
            known,
            "--out {}: expected a picture's name, such as outline.png or outline.jpg",
            out.display()
        );
    }
    let device = args.device.open(&log)?;
    let checkpoint = open_checkpoint(&args.checkpoint, &log)?;
    let which = args.weights.unwrap_or(checkpoint.best_weights());
    let arithmetic = args.arithmetic.name;
    let network = checkpoint.network(which, &device)?.in_arithmetic(arithmetic);
    let image = read_image(&args.image)
        .map_err(|problem| anyhow!("--image {}: {problem}; give a JPEG or PNG file", args.image.display()))?;
    let first = Look::whole(&network, &checkpoint.vocabulary, &checkpoint.config)?;
    let labeller = args
        .second_look
        .as_deref()
        .map(|name| Labeller::open(name, &device, arithmetic, &log))
        .transpose()?;
    let second = labeller.as_ref().map(Labeller::look).transpose()?;
    let expressions: Vec<&str> = args.expression.iter().map(String::as_str).collect();
    let max_words = second.as_ref().map_or(first.max_words, |second| first.max_words.min(second.max_words));
    let answers = predict(&first, second.as_ref(), &image, &expressions, &device)?;
    for answer in &answers {
        if !answer.unknown_words.is_empty() {
            let words = answer.unknown_words.join(", ");
            log.line(format!(
                "WARNING: \"{}\": not in the checkpoint's vocabulary: {words}; each is read as \"unknown word\"",
                answer.expression
            ))?;
        }
        if answer.dropped_words > 0 {
            log.line(format!(
                "WARNING: \"{}\": the last {} words are not read; the checkpoint reads {max_words} (data.max_words)",
                answer.expression, answer.dropped_words
            ))?;
        }
        if args.json {
            say(serde_json::to_string(answer)?)?;
        }
    }
    // After all answers: a picture that can't be written loses none.
    for (number, answer) in answers.iter().enumerate() {
        let path = picture_path(&args, number);
        save_picture(&answer.draw(&image), &path)
            .context("the picture can't be written there; name another place with --out")?;
        log.line(format!("\"{}\": {}", answer.expression, path.display()))?;
    }
    Ok(())
}

fn picture_path(args: &PredictArgs, number: usize) -> PathBuf {
    let path = args.out.clone().unwrap_or_else(|| args.image.with_extension("partial-res.png"));
    if args.expression.len() == 1 {
        return path;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let suffix = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{stem}-{}.{suffix}", number + 1))
}
