//! A checkpoint made ready for others: weights, configuration, vocabulary and a card that says what
//! it is, what it scored and where it comes from.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;

use super::HubError;
use crate::checkpoint::{Checkpoint, Snapshot};
use crate::config::{Config, Task, Transform};
use crate::model::BACKBONE;
use crate::report::{ResultRow, Weights};
use crate::whole::NewFile;

/// Which weights go into the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    Raw,
    RawAndEma,
}

/// Writes `checkpoint` with `config` (its own, or with other paths) as the folder `out`: a checkpoint
/// without what only resuming needs, plus the card `README.md`.
///
/// # Errors
/// [`HubError::Checkpoint`] for files that can't be read or written.
pub fn package(
    checkpoint: &Checkpoint,
    config: &Config,
    contents: Contents,
    licence: &str,
    out: &Path,
) -> Result<(), HubError> {
    let average = contents == Contents::RawAndEma && checkpoint.has_average();
    let snapshot = Snapshot {
        config,
        vocabulary: &checkpoint.vocabulary,
        state: &checkpoint.state,
        model: checkpoint.weights(Weights::Raw)?,
        ema: average.then(|| checkpoint.weights(Weights::Ema)).transpose()?,
        optimizer: None,
    };
    snapshot.write(out)?;
    let path = out.join("README.md");
    std::fs::write(&path, card(checkpoint, config, average, licence))
        .map_err(|source| HubError::Write { path, source })
}

/// Writes the backbone's tensors alone, as `train.backbone` reads them; returns how many.
pub fn write_backbone(checkpoint: &Checkpoint, path: &Path) -> Result<usize, HubError> {
    let all = checkpoint.weights(Weights::Raw)?;
    let backbone: HashMap<String, Tensor> =
        all.into_iter().filter(|(name, _)| name.starts_with(BACKBONE)).collect();
    let write = || {
        let mut new = NewFile::beside(path)?;
        let bytes = safetensors::serialize(&backbone, None).map_err(std::io::Error::other)?;
        new.file_mut().write_all(&bytes)?;
        new.put()
    };
    write().map_err(|source| HubError::Write { path: path.into(), source })?;
    Ok(backbone.len())
}

/// `average`: the averaged weights are in the package too.
fn card(checkpoint: &Checkpoint, config: &Config, average: bool, licence: &str) -> String {
    let (state, model, train) = (&checkpoint.state, &config.model, &config.train);
    let task = match model.task {
        Task::Segmentation => "outlines what an expression refers to (RES)",
        Task::Detection => "boxes what an expression refers to (REC)",
        Task::MultiTask => "boxes and outlines what an expression refers to",
    };
    let variant = if model.point_modulation || model.co_content { "Partial-RES" } else { "SeqTR" };
    let start = match (&train.finetune_from, &train.backbone) {
        (Some(path), _) => format!("fine-tuned from {}", path.display()),
        (None, Some(path)) => format!("from the backbone {}", path.display()),
        (None, None) => "from random weights".to_owned(),
    };
    // A labeller must be shown where to look.
    let commands = match config.data.train_transform {
        Transform::CloseUp => {
            "partial-res label --checkpoint .\npartial-res eval --checkpoint FINDER --second-look ."
        }
        Transform::Resize | Transform::Jitter => {
            "partial-res predict --checkpoint . --image IMAGE --expression \"…\"\npartial-res eval --checkpoint ."
        }
    };
    let mut text = format!(
        "---\nlicense: {licence}\npipeline_tag: image-segmentation\ntags: [referring-expression-segmentation]\n---\n\n\
         # {variant} on {dataset}\n\nA model that {task}, trained by Partial-RES in Rust, {program}.\n\n\
         ```sh\n{commands}\n```\n\n\
         ## Where it comes from\n\n\
         - data: `{dataset}`, annotations `{annotations}`, images of {size} pixels\n\
         - {start}; seed {seed}, {epochs} epochs, {step} steps, {minutes:.0} minutes\n\
         - SHA-256 of the weights: `{hash}`\n\n\
         `config.toml` has every setting, `state.json` the history of scores.\n\n## Scores\n\n",
        dataset = config.data.dataset,
        annotations = config.data.train_annotations,
        size = config.data.image_size,
        program = concat!("version ", env!("CARGO_PKG_VERSION")),
        seed = train.seed,
        epochs = state.epoch,
        step = state.step,
        minutes = state.seconds / 60.0,
        hash = checkpoint.hash(Weights::Raw).unwrap_or("unknown"),
    );
    let scores =
        state.scores.iter().filter(|row| row.step == state.step && (average || row.weights == Weights::Raw));
    let scores: Vec<&ResultRow> = scores.collect();
    if scores.is_empty() {
        return text + "These weights were not evaluated in training.\n";
    }
    text += "| split | weights | protocol | mIoU | oIoU | P@0.5 | P@0.9 | box accuracy |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    scores.into_iter().for_each(|row| score(&mut text, row));
    // What they were measured with, whatever `config` says by now.
    if let limit @ 1.. = checkpoint.config.train.eval_limit {
        text += &format!(
            "\nThese are scores of about {limit} referents of a split, or of all if it has fewer (`train.eval_limit`), in \
             whole images evenly spread over it.\n"
        );
    }
    text
}

fn score(text: &mut String, row: &ResultRow) {
    let figure = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let figures = [row.miou, row.oiou, row.p50, row.p90, row.box_acc].map(figure).join(" | ");
    *text += &format!("| {} | {} | {} | {figures} |\n", row.split, row.weights, row.protocol);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::TrainState;
    use crate::report::{Protocol, Scores};
    use crate::text::Vocabulary;

    #[test]
    fn a_card_says_what_part_of_a_split_its_scores_are_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let row =
            |step, weights| ResultRow::new((1, step), "val", weights, Protocol::Standard, &Scores::default());
        let now = vec![row(9, Weights::Raw), row(9, Weights::Ema)];
        for (limit, scores, said, rows) in [
            (0, now.clone(), false, 1),
            (50, now, true, 1),
            (50, vec![], false, 0),
            (51, vec![row(8, Weights::Raw)], false, 0),
        ] {
            let mut config = Config::default();
            config.train.eval_limit = limit;
            let state = TrainState { scores, step: 9, ..TrainState::default() };
            let snapshot = Snapshot {
                config: &config,
                vocabulary: &Vocabulary::build(["a red star"]),
                state: &state,
                model: HashMap::new(),
                ema: None,
                optimizer: None,
            };
            let place = folder.path().join(format!("{limit}-{}", state.scores.len()));
            snapshot.write(&place).expect("written");
            let checkpoint = Checkpoint::open(&place).expect("a checkpoint");
            let card = card(&checkpoint, &Config::default(), false, "mit");
            assert_eq!(card.contains("about 50 referents"), said, "{card}");
            assert_eq!(card.matches("| val |").count(), rows, "the scores of its own weights: {card}");
            assert_eq!(card.contains("were not evaluated"), rows == 0, "{card}");
        }
    }
}
