//! Unknown keys, and which known one was probably meant.

use toml::{Table, Value};

use super::describe::{Described, Holds, Key, leaves};
use super::{Config, ConfigError};

/// Keys of SeqTR and Partial-RES, whose spelling leads astray, and what they are here.
const REFERENCE: [(&str, &str); 44] = [
    ("data_root", "`data.root`"),
    ("dataset", "`data.dataset`"),
    ("data.samples_per_gpu", "`train.batch_size`"),
    ("data.workers_per_gpu", "`data.workers`"),
    ("data.train.annsfile", "`data.train_annotations` (a file name in the dataset's folder)"),
    ("data.train.imgsfile", "`data.images.<data_source>`"),
    ("data.val.imgsfile", "`data.images.<data_source>`"),
    ("data.val.which_set", "the option --split, in training `data.val_split`"),
    ("max_token", "`data.max_words`"),
    ("num_ray", "`model.vertices`"),
    ("num_bin", "`model.bins`"),
    ("d_model", "`model.d_model`"),
    ("model.head.num_ray", "`model.vertices`"),
    ("model.head.num_bin", "`model.bins`"),
    ("model.head.multi_task", "`model.task` = \"multi-task\""),
    ("model.head.shuffle_fraction", "`train.shuffle_fraction`"),
    ("model.head.det_coord", "`model.loss.box_weights`"),
    ("model.head.det_coord_weight", "`model.loss.box_weights`"),
    ("model.head.loss.neg_factor", "`model.loss.label_smoothing`"),
    ("model.head.transformer.encoder.num_layers", "`model.encoder_layers`"),
    ("model.head.transformer.decoder.num_layers", "`model.decoder_layers`"),
    ("model.lan_enc.freeze_emb", "`model.language.trainable_words` (true where freeze_emb is False)"),
    ("model.lan_enc.lstm_cfg.hidden_size", "`model.language.hidden`"),
    ("model.vis_enc.pretrained", "`train.backbone`"),
    ("model.vis_enc.freeze_layer", "`model.darknet.frozen` (how many modules are frozen)"),
    ("ema", "`train.ema`"),
    ("ema_factor", "`train.ema_decay`"),
    ("seed", "`train.seed`"),
    ("log_interval", "`train.log_every`"),
    ("save_interval", "`train.save_every`"),
    ("grad_norm_clip", "`train.clip`"),
    ("optimizer_config.lr", "`train.lr`"),
    ("optimizer_config.betas", "`train.betas`"),
    ("optimizer_config.eps", "`train.eps`"),
    ("optimizer_config.weight_decay", "`train.weight_decay`"),
    ("optimizer_config.amsgrad", "`train.amsgrad`"),
    ("scheduler_config.max_epoch", "`train.epochs`"),
    ("scheduler_config.warmup_epochs", "`train.warmup_epochs`"),
    ("scheduler_config.decay_steps", "`train.decay_epochs`"),
    ("scheduler_config.decay_ratio", "`train.decay_factor`"),
    ("finetune_from", "the option --finetune-from"),
    ("resume_from", "the option --resume"),
    ("load_from", "the option --checkpoint"),
    ("work_dir", "the option --runs DIR"),
];

/// Every key of `table` must be a key of [`Config`].
pub(super) fn check(table: &Table, place: &str) -> Result<(), ConfigError> {
    let known = leaves(Config::HOLDS);
    for key in paths(table) {
        if !known.iter().any(|(path, leaf)| may_be(&key, path, leaf)) {
            let advice = advice(&key, &known);
            return Err(ConfigError::UnknownKey { place: place.into(), key, advice });
        }
    }
    Ok(())
}

/// Whether `key` is the known key at `path`, a table that holds it, or in it where its keys are free.
fn may_be(key: &str, path: &str, leaf: &Key) -> bool {
    let within =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    key == path || within(path, key) || (matches!(leaf.holds, Holds::Free) && within(key, path))
}

fn paths(table: &Table) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                all.extend(paths(inner).into_iter().map(|rest| format!("{key}.{rest}")));
            }
            _ => all.push(key.clone()),
        }
    }
    all
}

/// What to write instead of an unknown key.
fn advice(key: &str, known: &[(String, Key)]) -> String {
    if let Some((_, here)) = REFERENCE.iter().find(|(reference, _)| *reference == key) {
        return format!("that key of the reference is {here} here");
    }
    match nearest(key, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`train --print-config` lists all keys".into(),
    }
}

/// By the whole path, or by the last part when the section is wrong or left out.
fn nearest(key: &str, known: &[(String, Key)]) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |candidate: &str| {
        let whole = strsim::jaro_winkler(key, candidate);
        let tail = strsim::jaro_winkler(&last(key), &last(candidate)) - 0.02;
        whole.max(tail)
    };
    known
        .iter()
        .map(|(candidate, _)| (score(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.8)
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keys_of_the_reference_are_here_is_there() {
        let known = leaves(Config::HOLDS);
        for (reference, here) in REFERENCE {
            assert!(!known.iter().any(|(path, _)| path == reference), "{reference} is a key of ours");
            // Some are options.
            let Some(key) = here.split('`').nth(1) else { continue };
            assert!(known.iter().any(|(path, leaf)| may_be(key, path, leaf)), "{reference}: {here}");
        }
    }
}
