//! Unknown keys, and which known one was probably meant.

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Tables whose keys are the user's own.
const FREE: [&str; 1] = ["data.images"];
/// Keys that have no value by default and so do not show in a printed default.
const OPTIONAL: [&str; 2] = ["train.finetune_from", "train.backbone"];

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
    let known = known();
    for key in paths(table) {
        let free = FREE.iter().any(|free| key == *free || key.starts_with(&format!("{free}.")));
        let section = known.iter().any(|k| k.starts_with(&format!("{key}.")));
        if !free && !section && !known.contains(&key) {
            let advice = advice(&key, &known);
            return Err(ConfigError::UnknownKey { place: place.into(), key, advice });
        }
    }
    Ok(())
}

fn known() -> Vec<String> {
    let table = Table::try_from(Config::default()).expect("a Config holds nothing that TOML can't say");
    paths(&table).into_iter().chain(OPTIONAL.map(str::to_owned)).collect()
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
fn advice(key: &str, known: &[String]) -> String {
    if let Some((_, here)) = REFERENCE.iter().find(|(reference, _)| *reference == key) {
        return format!("that key of the reference is {here} here");
    }
    match nearest(key, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`train --print-config` lists all keys".into(),
    }
}

/// By the whole path, or by the last part when the section is wrong or left out.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |candidate: &String| {
        let whole = strsim::jaro_winkler(key, candidate);
        let tail = strsim::jaro_winkler(&last(key), &last(candidate)) - 0.02;
        whole.max(tail)
    };
    known
        .iter()
        .map(|candidate| (score(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.8)
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keys_of_the_reference_are_here_is_there() {
        let known = known();
        for (reference, here) in REFERENCE {
            assert!(!known.iter().any(|known| known == reference), "{reference} is a key of ours");
            // Some are options.
            let Some(key) = here.split('`').nth(1) else { continue };
            let free = FREE.iter().any(|free| key.starts_with(free));
            assert!(free || known.iter().any(|known| known == key), "{reference}: {here}");
        }
    }
}
